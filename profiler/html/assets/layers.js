// Tables of layers, operators and instruction kinds; and the critical path.

let timelineShown = null; // the Timeline, once its data is unpacked
document.addEventListener("timeline", (event) => { timelineShown = event.detail; });

/** Search the timeline for a layer and bring it into sight. */
function showInTimeline(name) {
  if (!timelineShown) return;
  timelineShown.search.value = name;
  find(timelineShown, name);
  findNext(timelineShown, 1);
  $("timeline").scrollIntoView();
}

function layerLink(name) {
  return el("button", { type: "button", class: "link", title: `${clip(name, 500)}\nShow in the timeline`, click: () => showInTimeline(name) },
    el("span", { class: "name" }, clip(name, 160)));
}

function meter(value) {
  return el("span", {}, el("i", { class: "meter", style: { width: `${Math.min(60, 0.6 * value)}px` } }), percent(value));
}

const SHARE_COLUMNS = [
  { title: "time", key: "time", text: seconds, help: "Every instant counts once, split among the layers busy in it" },
  { title: "share", key: "time_percent", node: meter, help: "Of the device time" },
  { title: "on path", key: "path_percent", text: percent, help: "Share of the critical paths of all runs" },
  { title: "MACs", key: "macs", text: (value) => (value ? count(value) : "–"), help: "Useful multiply-accumulates" },
  { title: "FLOPs issued", key: "flops", text: (value) => (value ? count(value) : "–"), help: "Operations issued to the PE" },
  { title: "DMA", key: "bytes", text: bytes, help: "Bytes moved by DMA" },
  { title: "DRAM", key: "dram_bytes", text: bytes, help: "Bytes read and written in DRAM" },
  { title: "MFU", key: "mfu_percent", text: (value, row) => (row.macs ? percent(value) : "–"), help: "Useful operations of the PE's peak in the layer's core time" },
];
const BOUND_COLUMN = { title: "bound by", key: "bound", label: true, help: "What most of its part of the critical path is" };
const LAYER_TABLES = {
  layers: ["Layers", [{ title: "layer", key: "name", label: true, node: layerLink }, { title: "operator", key: "op_type", label: true },
    ...SHARE_COLUMNS, BOUND_COLUMN]],
  operators: ["Operators", [{ title: "operator", key: "op_type", label: true }, { title: "layers", key: "layers", text: digits }, ...SHARE_COLUMNS, BOUND_COLUMN]],
  kinds: ["Instructions", [{ title: "engine", key: "engine", label: true, text: (name) => ENGINE_TITLES[name] ?? name },
    { title: "instruction", key: "mnemonic", label: true }, { title: "count", key: "count", text: (value) => value.toLocaleString("en") },
    { title: "issuing", key: "issue_time", text: seconds }, { title: "in flight", key: "instruction_time", text: seconds },
    { title: "of its engine", key: "engine_percent", node: meter }, { title: "DMA", key: "bytes", text: bytes },
    { title: "FLOPs", key: "flops", text: (value) => (value ? count(value) : "–") }, BOUND_COLUMN]],
};

function columnsFor(columns, rows) {
  return columns.filter(({ key }) => rows.some((row) => key in row)).map((column) => ({ ...column, number: !column.label, value: (row) => row[column.key] }));
}

function showLayers(report) {
  const found = report.analyses.layers;
  if (!found) return;
  const place = el("div"), bounds = ["any bound", ...new Set(found.layers.map((row) => row.bound))];
  const bound = el("select", { "aria-label": "Bound by", change: () => draw() }, bounds.map((name) => el("option", {}, name)));
  const tabs = Object.entries(LAYER_TABLES).filter(([name]) => found[name]?.length).map(([name, [title]]) =>
    el("button", { type: "button", "data-name": name, click: () => draw(name) }, `${title} (${found[name].length})`));
  let chosen = "layers";
  function draw(name = chosen) {
    chosen = name;
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.name === name));
    const [title, columns] = LAYER_TABLES[name], shown = columnsFor(columns, found[name]);
    const rows = found[name].filter((row) => bound.value === bounds[0] || row.bound === bound.value);
    const first = shown.findIndex(({ key }) => key === (name === "kinds" ? "issue_time" : "time"));
    place.replaceChildren(dataTable(rows, shown, { order: [first, false], search: `Search ${title.toLowerCase()}`, caption: title }));
  }
  section("layers", "Layers", el("div", { class: "controls" }, el("span", { class: "buttons" }, tabs), bound), place);
  draw();
}

/** Shares of a whole as bars, the largest first. */
function shareBars(shares, whole, colour, text = words) {
  const rows = shares.filter(([, ticks]) => ticks > 0).sort((a, b) => b[1] - a[1]).slice(0, 12);
  return el("div", { class: "bars shares" }, rows.flatMap(([name, ticks]) => [el("span", { class: "name", title: name }, clip(text(name), 34)),
    el("div", { class: "bar" }, el("i", { style: { width: `${100 * ticks / whole}%`, background: colour(name) } })),
    el("span", { class: "value" }, percent(100 * ticks / whole))]));
}

const REASON_TEXT = { issue: "executing", latency: "result still in the engine", host_link: "host link", cpu: "CPU segment", queue: "queue for a core" };
const REASON_COLOURS = { issue: "active", latency: "raw", host_link: "link", cpu: "gpsimd", queue: "no_room" };

function showCriticalPath(report) {
  const path = report.analyses.critical_path;
  if (!path?.total_ticks) return;
  const reason = (name) => stallColour(REASON_COLOURS[name] ?? name), text = (name) => REASON_TEXT[name] ?? stallText(name);
  section("path", "Critical path", el("p", { class: "soft" }, "From the last tick back to the first: what each moment of the whole waited for."),
    el("div", { class: "columns" },
      el("div", {}, el("h3", {}, "Why"), shareBars(Object.entries(path.by_reason), path.total_ticks, reason, text)),
      el("div", {}, el("h3", {}, "Layers"), shareBars(path.by_layer.map((row) => [row.name || "no layer", row.ticks]), path.total_ticks, () => "var(--accent)", String))));
}
