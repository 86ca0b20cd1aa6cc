// The pipeline: which stage works on which request when, and what each stage waits for in between.

const GANTT_ROW = 22;

/** Runs of all cores over the whole time, as the timeline's rows of cores, with what they wait for between. */
class Gantt {
  constructor(timeline, place) {
    this.timeline = timeline;
    this.cores = timeline.data.tracks.filter((track) => track.kind === "runs");
    this.view = new View(timeline.data.total);
    this.canvas = el("canvas", { role: "img", "aria-label": "Runs of the stages over time" });
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.scroller = el("div", { class: "scroller" }, this.canvas);
    place.append(this.scroller);
    this.canvas.addEventListener("click", (event) => this.choose(event));
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    Theme.listeners.push(() => this.draw());
  }

  draw() {
    const { canvas, timeline, view } = this, width = this.scroller.clientWidth, ratio = devicePixelRatio || 1;
    const left = width < 500 ? 56 : 72, height = this.cores.length * GANTT_ROW + RULER;
    if (width <= left || !timeline.bubbleColours) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const raster = new Raster(this.context, Math.round((width - left) * ratio), canvas.height), size = (n) => Math.round(n * ratio);
    raster.clear(timeline.ground);
    const texts = [];
    this.cores.forEach((track, row) => {
      const y = size(RULER + row * GANTT_ROW), found = [];
      drawLane(raster, track.bubbles, view, y + size(6), size(GANTT_ROW - 12), timeline.bubbleColours);
      drawLane(raster, track.lane, view, y + size(2), size(GANTT_ROW - 4), timeline.requestColours, found, 16 * ratio);
      for (const [index, x0] of found) texts.push([track.columns.request[index], left + x0 / ratio + 3, RULER + (row + 0.5) * GANTT_ROW]);
    });
    const { context } = this;
    context.fillStyle = Theme.css("--card");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.putImageData(raster.image, size(left), 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.write(texts, left, width);
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.left = left;
  }

  write(texts, left, width) {
    const { context, view, timeline } = this, hz = timeline.data.tick_hz;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.fillStyle = Theme.dark ? "#fff" : "#111";
    for (const [text, x, y] of texts.slice(0, 3000)) context.fillText(text, x, y);
    context.fillStyle = Theme.dark ? "#b8c0cc" : "#4a5361";
    this.cores.forEach((track, row) => context.fillText(track.name, 4, RULER + (row + 0.5) * GANTT_ROW));
    for (const value of ticksBetween(0, view.total / hz, (width - left) / 110)) {
      const x = left + (value * hz / view.total) * (width - left);
      if (x < width - 40) context.fillText(axisTime(value, view.total / hz), x + 2, RULER / 2);
      context.fillRect(x, RULER - 6, 1, 4);
    }
  }

  /** Show a run in the timeline. */
  choose(event) {
    const track = this.cores[Math.floor((event.offsetY - RULER) / GANTT_ROW)];
    const time = ((event.offsetX - this.left) / (this.scroller.clientWidth - this.left)) * this.view.total;
    const index = track ? track.lane.at(time, this.view.total / 500) : -1;
    if (index < 0) return;
    this.timeline.pin({ track, index }, true);
    $("timeline").scrollIntoView();
  }
}

const BUBBLE_COLOURS = { fill: "no_input", drain: "idle", transfer: "link", imbalance: "vector", switch: "switch", starved: "no_room", not_recorded: "not_recorded" };
const BUBBLE_TEXT = {
  fill: "fill: before its first run", drain: "drain: after its last run", transfer: "transfer: signals and links", imbalance: "imbalance: another stage was slower",
  switch: "switching models", starved: "starved: no request", not_recorded: "not recorded",
};

/** What one chain of stages comes to: bottleneck in words, a bar of each stage, its numbers. */
function chainView(chain, pipeline) {
  const time = (ticks) => seconds(ticks / pipeline.tick_hz), share = (ticks) => 100 * ticks / Math.max(pipeline.total_ticks, 1);
  const kinds = Object.keys(BUBBLE_TEXT).filter((kind) => chain.stages.some((stage) => stage.bubbles[kind]));
  const bars = chain.stages.flatMap((stage) => {
    const parts = [["active", share(stage.busy)], ["others", share(stage.others ?? 0)], ...kinds.map((kind) => [kind, share(stage.bubbles[kind])])];
    const title = ([kind, value]) => `${{ active: "running", others: "other models" }[kind] ?? BUBBLE_TEXT[kind]}: ${percent(value)}`;
    return [el("span", {}, `stage ${stage.stage}`), el("div", { class: "bar", role: "img", "aria-label": parts.map(title).join(", ") },
      parts.map((part) => el("i", { title: title(part), style: { width: `${part[1]}%`, background: bubbleColour(part[0]) } }))),
    el("span", { class: "value" }, `${time(stage.mean)} a run, ${percent(share(stage.busy))} busy`)];
  });
  const title = pipeline.chains.length > 1 ? `Model ${chain.model}, copy ${chain.copy}: ` : "";
  const gain = chain.speedup > 1.005 ? `; perfectly balanced stages would be ${digits(chain.speedup)} times as fast` : "";
  return el("div", {}, el("p", {}, title, el("b", {}, `bottleneck: ${chain.bottleneck}`),
    `, ${time(chain.period)} a request, so at most ${digits(chain.requests_per_s)} requests a second${gain}.`),
  el("div", { class: "bars" }, bars), legend([[bubbleColour("active"), "running"], ...kinds.map((kind) => [bubbleColour(kind), BUBBLE_TEXT[kind]])]));
}

function bubbleColour(kind) { return stallColour(BUBBLE_COLOURS[kind] ?? { others: "gpsimd" }[kind] ?? kind); }

function showPipeline(report) {
  const { pipeline } = report.analyses, place = el("div"), chains = el("div");
  if (report.facts.runs < 2) return;
  const drawChains = () => chains.replaceChildren(...(pipeline?.chains ?? []).slice(0, 16).map((chain) => chainView(chain, pipeline)));
  const links = Object.entries(pipeline?.host_link_percent ?? {}).map(([chip, share]) => `chip ${chip} ${percent(share)}`).join(", ");
  section("pipeline", "Pipeline", chains, links && el("p", { class: "soft" }, `Host links busy: ${links}.`),
    el("h3", {}, "Which core works on which request"), place,
    el("p", { class: "soft" }, "Coloured and numbered by request; thinner bars between are what the core waited for. A click shows the run in the timeline."));
  drawChains();
  Theme.listeners.push(drawChains);
  document.addEventListener("timeline", (event) => {
    const timeline = event.detail;
    new Gantt(timeline, place);
    place.append(legend(timeline.reasons.runs.map((name) => [stallColour(name), `waits for ${RUN_WAIT_TEXT[name]}`])));
  });
}
