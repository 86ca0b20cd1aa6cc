// The columns of the trace, unpacked into typed arrays.

/** Bytes of the block: base64, then zlib. */
async function unpack(text) {
  const raw = atob(text.trim());
  const packed = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) packed[i] = raw.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A column: byte planes, lowest first; signed ones zigzag coded. */
function column(block, { at, n, planes, signed }, Kind = Float64Array) {
  const values = new Kind(n);
  for (let plane = 0, unit = 1; plane < planes; plane++, unit *= 256) {
    const from = at + plane * n;
    if (plane === 0) for (let i = 0; i < n; i++) values[i] = block[from + i];
    else for (let i = 0; i < n; i++) { const high = block[from + i]; if (high) values[i] += high * unit; }
  }
  if (signed) for (let i = 0; i < n; i++) { const v = values[i]; values[i] = v % 2 ? -(v + 1) / 2 : v / 2; }
  return values;
}

/** Slices in order of their start, and what drawing them fast needs. */
class Lane {
  constructor(start, length, key) {
    this.start = start;
    this.length = length;
    this.key = key;
    this.n = start.length;
    this.sum = new Float64Array(this.n + 1); // of lengths before each slice
    this.reach = new Float64Array(this.n); // latest end so far
    let sum = 0, reach = 0;
    for (let i = 0; i < this.n; i++) {
      this.sum[i] = sum;
      sum += length[i];
      reach = Math.max(reach, start[i] + length[i]);
      this.reach[i] = reach;
    }
    this.sum[this.n] = sum;
  }

  end(i) { return this.start[i] + this.length[i]; }

  /** First slice, from `low` on, that starts at `t` or later. */
  from(t, low = 0) { return lowerBound(this.start, t, low); }

  /** First slice after which something ends later than `t`. */
  ending(t) { return lowerBound(this.reach, t, 0, true); }

  /** The slice at a time, the one that started last if several overlap; -1: none. `slack` ticks beside it count. */
  at(t, slack = 0) {
    let best = -1, distance = slack;
    for (let i = lowerBound(this.start, t + slack, 0, true) - 1, seen = 0; i >= 0 && seen < 64 && this.reach[i] + slack >= t; i--, seen++) {
      if (this.start[i] <= t && this.end(i) > t) return i;
      const away = t < this.start[i] ? this.start[i] - t : t - this.end(i);
      if (away <= distance) { best = i; distance = away; }
    }
    return best;
  }
}

function lowerBound(values, t, low, strict = false) {
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (strict ? values[middle] <= t : values[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A track as the page uses it: `lane` of slices, `waits` lane of what came before them, other columns as they are. */
function openTrack(block, stored, number) {
  const track = { ...stored, number, children: [], columns: {} };
  for (const [name, where] of Object.entries(stored.columns ?? {})) {
    track.columns[name] = column(block, where, name === "label" ? Uint32Array : Float64Array);
  }
  const { start, length, label, value } = track.columns;
  if (value) track.most = value.reduce((a, b) => Math.max(a, b), 1);
  if (!start) return track;
  for (let i = 1; i < start.length; i++) start[i] += start[i - 1];
  track.lane = new Lane(start, length, track.columns.request?.map((request) => request % REQUEST_COLOURS) ?? label);
  if (track.kind === "words") openWaits(track);
  if (track.kind === "runs") openBubbles(track);
  return track;
}

/** Waits before instructions: of which slice, how long, why, and the producer's row and place. */
function openWaits(track) {
  const { start, wait, waited, from_row: fromRow, from_step: fromStep } = track.columns;
  const n = waited.length, owner = new Uint32Array(n), begin = new Float64Array(n), why = new Uint8Array(n);
  const place = new Float64Array(n), last = {};
  for (let i = 0, k = 0; i < start.length; i++) {
    if (!wait[i]) continue;
    owner[k] = i;
    begin[k] = start[i] - waited[k];
    why[k] = wait[i];
    if (fromRow?.[k]) place[k] = last[fromRow[k]] = (last[fromRow[k]] ?? 0) + fromStep[k];
    k++;
  }
  track.waits = new Lane(begin, waited, why);
  track.waits.owner = owner;
  track.producer = { row: fromRow ?? [], place };
}

/** Gaps before runs, by what the core waited for. */
function openBubbles(track) {
  const { start, wait, wait_for: reason } = track.columns;
  const begin = start.map((t, i) => t - wait[i]);
  track.bubbles = new Lane(begin, wait, Uint8Array.from(reason));
}

/** The labels' texts by number. */
function openLabels(block, stored) {
  const labels = {};
  for (const field of ["name", "layer", "operator", "source", "purpose"]) {
    labels[field] = Array.from(column(block, stored[field], Uint32Array), (number) => stored.texts[number]);
  }
  return labels;
}

/** Everything of the timeline, as `Report` of writer.py wrote it. */
async function openTimeline() {
  const stored = JSON.parse($("timeline-data").textContent);
  const block = await unpack($("columns").textContent);
  const tracks = stored.tracks.map((track, number) => openTrack(block, track, number));
  for (const track of tracks) if (track.parent >= 0) tracks[track.parent].children.push(track);
  return { ...stored, labels: openLabels(block, stored.labels), tracks };
}
