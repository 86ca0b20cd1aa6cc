// What is known about a slice: beside the pointer, and in full below the timeline once it is pinned.

const WAIT_TEXT = {
  tensor: "an instruction of TensorE", vector: "an instruction of VectorE", scalar: "an instruction of ScalarE", gpsimd: "an instruction of GpSimdE",
  sync: "an instruction of SyncE", signal: "semaphore latency", port: "a memory port", raw: "its own engine's result", pe_slot: "a stationary matrix",
  dma_start: "a DMA transfer, starting", dma_queue: "a DMA transfer, queued", dma_service: "a DMA transfer", dram: "DRAM bandwidth", link: "chip links",
};
const RUN_WAIT_TEXT = {
  none: "only its signal", input: "its input", room: "a free buffer behind it", work: "a request", switch: "switching models",
};

/** The word whose end a slice waited for, as a slice; null where there is none. */
function producerOf(timeline, { track, index }) {
  if (track.kind !== "words" || !track.columns.wait[index]) return null;
  const k = lowerBound(track.waits.owner, index, 0), row = track.producer.row[k];
  const found = row && timeline.data.tracks.find((other) => other.base === track.base && other.row === row - 1);
  return found ? { track: found, index: track.producer.place[k] } : null;
}

/** [name, value] pairs about a slice. */
function factsOf(timeline, { track, index }) {
  const { labels, tick_hz: hz, waits, wait_for: reasons } = timeline.data, { columns, lane } = track;
  const label = columns.label[index], time = (ticks) => seconds(ticks / hz), facts = [];
  const say = (name, value) => { if (value !== "" && value !== undefined && value !== null) facts.push([name, value]); };
  say("Layer", labels.layer[label]);
  say("Operator", labels.operator[label]);
  say("Purpose", labels.purpose[label]);
  say("Start", exactTime(lane.start[index], hz));
  say("Duration", time(lane.length[index]));
  if (columns.request && track.kind !== "requests") say("Request", columns.request[index]);
  if (columns.rows) say("Rows", columns.rows[index]);
  if (columns.bytes) say("Bytes", bytes(columns.bytes[index]));
  if (columns.queued) say("Queued before", time(columns.queued[index]));
  if (columns.dram_wait?.[index]) say("Waited for DRAM", time(columns.dram_wait[index]));
  if (columns.link_wait?.[index]) say("Waited for links", time(columns.link_wait[index]));
  if (track.kind === "runs") say("Waited", `${time(columns.wait[index])} for ${RUN_WAIT_TEXT[reasons[columns.wait_for[index]]]}`);
  if (track.kind === "words") say("Waited", waitText(timeline, { track, index }, waits));
  say("Graph nodes", labels.source[label]);
  return facts;
}

function waitText(timeline, slice, waits) {
  const { track, index } = slice, reason = waits[track.columns.wait[index]];
  if (!track.columns.wait[index]) return "";
  const ticks = track.waits.length[lowerBound(track.waits.owner, index, 0)], source = producerOf(timeline, slice);
  const by = source ? `: ${sliceName(timeline, source.track, source.index)}` : "";
  return `${seconds(ticks / timeline.data.tick_hz)} for ${WAIT_TEXT[reason] ?? reason}${by}`;
}

/** A time with all its digits, in microseconds. */
function exactTime(ticks, hz) {
  return `${(ticks / hz * 1e6).toLocaleString("en", { maximumFractionDigits: 4 })} µs`;
}

function pathOf(timeline, track) {
  const names = [];
  for (let at = track; at; at = timeline.data.tracks[at.parent]) if (at.name) names.unshift(at.name);
  return names.join(" › ");
}

function showTip(timeline, slice, x, y) {
  const { tip } = timeline;
  tip.hidden = !slice;
  if (!slice) return;
  tip.replaceChildren(el("b", {}, clip(sliceName(timeline, slice.track, slice.index), 90)), el("br"), pathOf(timeline, slice.track),
    el("dl", {}, factsOf(timeline, slice).filter(([name]) => name !== "Graph nodes").map(([name, value]) =>
      [el("dt", {}, name), el("dd", {}, clip(value, 120))])));
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
}

function showDetails(timeline) {
  const { details, pinned } = timeline;
  if (!pinned) {
    details.replaceChildren();
    return;
  }
  const { track, index } = pinned, source = producerOf(timeline, pinned), { lane } = track;
  const step = (way) => ({ track, index: Math.min(Math.max(index + way, 0), lane.n - 1) });
  const button = (text, action) => el("button", { type: "button", click: action }, text);
  details.replaceChildren(
    el("h3", {}, clip(sliceName(timeline, track, index), 300)),
    el("p", {}, `${pathOf(timeline, track)}, ${index + 1} of ${lane.n.toLocaleString("en")}`),
    el("p", { class: "buttons" }, button("Zoom to it", () => timeline.view.show(lane.start[index] - lane.length[index], lane.end(index) + lane.length[index])),
      button("Previous", () => timeline.pin(step(-1), true)), button("Next", () => timeline.pin(step(1), true)),
      source && button("Go to what it waited for", () => timeline.pin(source, true)), button("Close", () => timeline.pin(null))),
    el("dl", {}, factsOf(timeline, pinned).map(([name, value]) => [el("dt", {}, name), el("dd", {}, clip(value, 2000))])));
}
