// The timeline: names of the tracks as buttons on the left, one canvas for the rows that are in sight.

const ROW_HEIGHT = { words: 24, transfers: 14, runs: 24, requests: 17, host: 17, curve: 44 };
const HEADING = 22, RULER = 24;
const REQUEST_COLOURS = 12;
const COLOUR_BY = { operator: "operator", layer: "layer", name: "instruction", purpose: "purpose" };

class Timeline {
  constructor(data, root) {
    Object.assign(this, { data, view: new View(data.total), by: "operator", query: "", pinned: null, hovered: null });
    this.build(root);
    this.restore();
    this.view.listeners.push(() => this.changed());
    Theme.listeners.push(() => { this.colour(); this.draw(); });
    new ResizeObserver(() => this.resize()).observe(this.scroller);
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    addInput(this);
    this.colour();
    this.layout();
    showDetails(this);
  }

  build(root) {
    this.canvas = el("canvas", { tabindex: "0", role: "application", "aria-label":
      "Timeline. Arrow keys move, plus and minus zoom, 0 shows all, brackets step through the slices of a track." });
    this.names = el("div", { class: "names" });
    this.space = el("div", { class: "space" }, this.names, this.canvas);
    this.scroller = el("div", { class: "scroller" }, this.space);
    this.tip = el("div", { class: "tip", hidden: true });
    this.details = el("div", { class: "details", "aria-live": "polite" });
    this.legend = el("div");
    this.found = el("span", { class: "found", "aria-live": "polite" });
    root.append(timelineControls(this), this.scroller, this.tip, this.legend, this.details);
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  }

  restore() {
    const kept = Address.read(), open = kept.get("open");
    if (open !== null) {
      const numbers = new Set(open.split(".").map(Number));
      for (const track of this.data.tracks) if (track.children.length) track.open = numbers.has(track.number);
    }
    const [from, to] = (kept.get("t") ?? "").split("-").map(Number);
    if (to > from) this.view.show(from, to);
    if (kept.get("by") in COLOUR_BY) this.by = this.chooser.value = kept.get("by");
    this.query = this.search.value = kept.get("q") ?? "";
    const [number, index] = (kept.get("pin") ?? "").split(".").map(Number);
    const track = this.data.tracks[number];
    if (track?.lane && index < track.lane.n) this.pinned = { track, index };
  }

  changed() {
    const { view, data } = this, kept = { t: "", open: "", by: this.by === "operator" ? "" : this.by, q: this.query };
    if (view.from > 0 || view.to < data.total) kept.t = `${Math.floor(Math.max(0, view.from))}-${Math.ceil(view.to)}`;
    if (this.toggled) kept.open = data.tracks.filter((track) => track.open).map((track) => track.number).join(".");
    if (this.pinned) kept.pin = `${this.pinned.track.number}.${this.pinned.index}`;
    Address.write(kept);
    this.draw();
  }

  /** Pixels of the labels, dimmed where the search leaves them out. */
  colour() {
    const { labels, waits, wait_for: reasons } = this.data, texts = labels[this.by];
    const order = new Map(), query = this.query.toLowerCase();
    for (const text of texts) if (text && !order.has(text)) order.set(text, order.size);
    this.order = order;
    this.matches = texts.map((_, i) => !query || `${labels.name[i]}\n${labels.layer[i]}\n${labels.operator[i]}`.toLowerCase().includes(query));
    const plain = Theme.dark ? "hsl(220 10% 45%)" : "hsl(220 12% 70%)";
    this.css = texts.map((text, i) => order.has(text) ? paletteColour(order.get(text)) : labels.layer[i] ? plain : paletteColour(0));
    this.colours = Uint32Array.from(this.css, (css, i) => pixel(css, this.matches[i] ? 1 : 0.18));
    this.waitColours = Uint32Array.from(waits, (name) => pixel(stallColour(name), query ? 0.25 : 1));
    this.bubbleColours = Uint32Array.from(reasons, (name) => pixel(stallColour(name), query ? 0.25 : 1));
    this.requestColours = Uint32Array.from({ length: REQUEST_COLOURS }, (_, i) => pixel(paletteColour(i), query ? 0.25 : 1));
    this.ground = pixel(Theme.dark ? "hsl(220 13% 11%)" : "hsl(0 0% 100%)");
    this.stripe = pixel(Theme.dark ? "hsl(220 13% 14%)" : "hsl(220 20% 97%)");
    this.line = pixel(Theme.dark ? "hsl(220 10% 22%)" : "hsl(220 15% 89%)");
    this.curveColour = pixel(stallColour("dram"));
    this.showLegend();
  }

  showLegend() {
    const { waits, wait_for: reasons, tracks } = this.data, { order } = this;
    const used = (kind, names, lane) => {
      const seen = new Set();
      for (const track of tracks) if (track.kind === kind) track[lane].key.forEach((key, i) => { if (track[lane].length[i]) seen.add(key); });
      return names.filter((_, number) => seen.has(number));
    };
    this.reasons ??= { words: used("words", waits, "waits"), runs: used("runs", reasons, "bubbles") };
    const pairs = [...order.keys()].slice(0, 14).map((text) => [paletteColour(order.get(text)), text || "none"]);
    if (order.size > 14) pairs.push(["transparent", `and ${order.size - 14} more`]);
    this.legend.replaceChildren(el("div", { class: "legends" },
      !this.data.producers && el("p", {}, "The trace is large: waits name the engine they were for, not the very instruction."),
      el("b", {}, `Slices of engines and DMA: ${COLOUR_BY[this.by]}`), legend(pairs),
      el("b", {}, "Thin lane below them: what the next one waited for"),
      legend(this.reasons.words.map((name) => [stallColour(name), WAIT_TEXT[name] ?? stallText(name)])),
      el("b", {}, "Thin lane below a core: what its next run waited for"),
      legend(this.reasons.runs.map((name) => [stallColour(name), RUN_WAIT_TEXT[name]]))));
  }

  /** Rows of the tracks that are open, from top to bottom. */
  layout() {
    this.rows = [];
    let y = RULER;
    const visit = (track, depth) => {
      const height = track.kind ? ROW_HEIGHT[track.kind] : HEADING;
      this.rows.push({ track, depth, y, height });
      y += height;
      if (track.open) for (const child of track.children) visit(child, depth + 1);
    };
    for (const track of this.data.tracks) if (track.parent < 0) visit(track, 0);
    this.height = y + 4;
    this.space.style.height = `${this.height}px`;
    this.names.replaceChildren(...this.rows.map((row) => this.nameOf(row)));
    this.resize();
  }

  nameOf({ track, depth, y, height }) {
    const style = { top: `${y}px`, height: `${height}px`, paddingLeft: `${4 + 10 * depth}px` };
    if (!track.children.length) return el("div", { style, title: track.name }, track.name);
    return el("button", { type: "button", style, title: track.name, "aria-expanded": String(track.open), click: () => this.toggle(track) },
      `${track.open ? "▾" : "▸"} ${clip(track.name, 60)}`);
  }

  toggle(track, open = !track.open) {
    track.open = open;
    this.toggled = true;
    const focused = this.rows.findIndex((row) => row.track === track);
    this.layout();
    this.names.children[focused]?.focus();
    this.changed();
  }

  resize() {
    const ratio = devicePixelRatio || 1, width = this.space.clientWidth - this.names.offsetWidth;
    const height = Math.min(this.scroller.clientHeight, this.height);
    if (width <= 0 || height <= 0) return;
    this.ratio = ratio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.raster = new Raster(this.context, this.canvas.width, this.canvas.height);
    this.draw();
  }

  /** Draw before the next frame, once however often it is asked for. */
  draw() {
    if (this.waiting || !this.raster) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; paintTimeline(this); });
  }

  // ---- places
  timeAt(x) { return this.view.from + (x / this.canvas.clientWidth) * this.view.span; }
  xOf(time) { return ((time - this.view.from) / this.view.span) * this.canvas.clientWidth; }

  rowAt(y) {
    if (y < RULER) return null;
    const place = y + this.scroller.scrollTop;
    return this.rows.find((row) => place >= row.y && place < row.y + row.height) ?? null;
  }

  sliceAt(x, y) {
    const row = this.rowAt(y), time = this.timeAt(x);
    if (!row?.track.lane) return null;
    const { track } = row, slack = (3 / this.canvas.clientWidth) * this.view.span;
    if (track.kind === "words" && y + this.scroller.scrollTop > row.y + 17) {
      const k = track.waits.at(time, slack);
      if (k >= 0) return { track, index: track.waits.owner[k] };
    }
    const index = track.lane.at(time, slack);
    return index < 0 ? null : { track, index };
  }

  // ---- what is chosen
  pin(slice, reveal = false) {
    this.pinned = slice;
    if (slice && reveal) this.reveal(slice);
    showDetails(this);
    this.changed();
  }

  reveal({ track, index }) {
    for (let at = track; at.parent >= 0; at = this.data.tracks[at.parent]) this.data.tracks[at.parent].open = this.toggled = true;
    this.layout();
    const row = this.rows.find((candidate) => candidate.track === track);
    const { scrollTop, clientHeight } = this.scroller;
    if (row.y < scrollTop + RULER || row.y + row.height > scrollTop + clientHeight) this.scroller.scrollTop = row.y - clientHeight / 2;
    const start = track.lane.start[index], end = track.lane.end(index), { view } = this;
    if (end < view.from || start > view.to || end - start < view.span / 500) {
      const span = Math.max((end - start) * 12, 100);
      view.show((start + end - span) / 2, (start + end + span) / 2);
    }
  }
}
