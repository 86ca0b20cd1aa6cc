// Memory over time: SBUF and PSUM of a core, DRAM traffic of a chip, what was spilled.

function showMemory(report) {
  const found = report.analyses.occupancy;
  if (!found?.memories?.length) return;
  const cores = [...new Set(found.memories.map((memory) => memory.core))], charts = el("div", { class: "columns" });
  const core = el("select", { "aria-label": "Core", change: () => draw() }, cores.map((n) => el("option", { value: n }, `Core ${n}`)));
  const draw = () => charts.replaceChildren(...found.memories.filter((memory) => String(memory.core) === core.value).sort((a, b) => b.capacity - a.capacity).map((memory) => memoryChart(memory, report)));
  draw();
  section("memory", "Memory over time", cores.length > 1 && el("div", { class: "controls" }, core), charts,
    el("div", { class: "columns" }, found.dram.filter(moves).map((dram) => dramChart(dram, report))), quietChips(found.dram),
    el("p", { class: "soft" }, "The bytes of a transfer are spread evenly over its time, waits included."),
    el("div", { class: "columns" }, peakTable(found), spillTable(found)));
}

function timeAxis(total, box) {
  return { scale: scaleOf(0, total, box.left, box.right), values: ticksBetween(0, total, (box.right - box.left) / 90), text: (value) => axisTime(value, total) };
}

function memoryChart(memory, report) {
  const unused = memory.capacity - memory.peak;
  return el("div", {}, el("h3", {}, `${memory.memory.toUpperCase()} of core ${memory.core}, a partition`),
    chart((width) => areaChart(width, report, [{ values: memory.points, colour: stallColour("tensor"), title: "most alive" }],
      bytes, memory.capacity, memory.held)),
    el("p", { class: "soft" }, `Peak ${bytes(memory.peak)} of ${bytes(memory.capacity)} (${percent(100 * memory.peak / memory.capacity)}), ${bytes(Math.max(unused, 0))} never used`,
      memory.held ? `; ${bytes(memory.held)} held all the time by pinned weights and handover buffers.` : "."));
}

const VARIABLE_TEXT = { input: "inputs", output: "outputs", file: "weights", "tmp-buf": "intermediates" };
const moves = (dram) => [...dram.read, ...dram.written].some((value) => value > 0);

function holds(dram) {
  return Object.entries(dram.variables).filter(([, size]) => size).map(([kind, size]) => `${VARIABLE_TEXT[kind] ?? kind} ${bytes(size)}`).join(", ") || "nothing";
}

function quietChips(drams) {
  const quiet = drams.filter((dram) => !moves(dram));
  return quiet.length > 0 && el("p", { class: "soft" }, `No DRAM traffic: ${quiet.map((dram) => `chip ${dram.chip} (holds ${holds(dram)})`).join("; ")}.`);
}

function dramChart(dram, report) {
  const rate = (values) => values.map((value) => value / (report.seconds / values.length));
  return el("div", {}, el("h3", {}, `DRAM of chip ${dram.chip}: bytes a second`),
    chart((width) => areaChart(width, report, [
      { values: rate(dram.read), colour: stallColour("tensor"), title: "read" }, { values: rate(dram.written), colour: stallColour("vector"), title: "written" }],
    (value) => `${bytes(value)}/s`)),
    legend([[stallColour("tensor"), "read"], [stallColour("vector"), "written"]]),
    el("p", { class: "soft" }, `Holds ${holds(dram)}.`));
}

/** Staircases over the whole time; lines at what there is (`limit`) and what is always taken (`held`). */
function areaChart(width, report, series, text, limit = 0, held = 0) {
  const height = 190, box = { left: 70, right: width - 12, top: 12, bottom: height - 24 };
  const most = Math.max(limit, ...series.flatMap((one) => one.values)) || 1, bins = series[0].values.length;
  const x = timeAxis(report.seconds, box), y = scaleOf(0, most * 1.05, box.bottom, box.top);
  const step = (box.right - box.left) / bins, level = (value, colour, name) => [
    svg("line", { x1: box.left, x2: box.right, y1: y(value), y2: y(value), stroke: colour, "stroke-dasharray": "5 4" }),
    svg("text", { x: box.right - 4, y: y(value) + 13, "text-anchor": "end" }, name)];
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": series.map((one) => `${one.title}: at most ${text(Math.max(...one.values))}`).join(", ") },
    axes(x, { scale: y, values: ticksBetween(0, most, 4), text }, box),
    series.map(({ values, colour, title }) => svg("polygon", { fill: colour, "fill-opacity": 0.45, stroke: colour,
      points: `${box.left},${box.bottom} ${stairs(values.map((_, i) => box.left + i * step), values.map(y), box.right)} ${box.right},${box.bottom}` },
    svg("title", {}, title))),
    limit ? level(limit, stallColour("dram"), `all: ${text(limit)}`) : [], held ? level(held, stallColour("gpsimd"), `held: ${text(held)}`) : []);
}

function peakTable(found) {
  if (found.memories.length < 5) return null;
  return el("div", {}, el("h3", {}, "Peaks, bytes of a partition"), dataTable(found.memories, [
    { title: "core", number: true, value: (row) => row.core }, { title: "memory", value: (row) => row.memory },
    { title: "peak", number: true, value: (row) => row.peak, text: bytes }, { title: "held", number: true, value: (row) => row.held, text: bytes },
    { title: "allocated", number: true, value: (row) => row.allocated, text: bytes },
    { title: "used", number: true, value: (row) => 100 * row.peak / row.capacity, node: meter }], { order: [5, false], most: 12, caption: "Peaks" }));
}

function spillTable(found) {
  if (!found.spills?.length) return el("p", {}, "Nothing was spilled to DRAM.");
  return el("div", {}, el("h3", {}, "Spills"), dataTable(found.spills, [
    { title: "layer", value: (row) => row.layer, node: layerLink }, { title: "spilled", number: true, value: (row) => row.saved, text: bytes },
    { title: "reloaded", number: true, value: (row) => row.reloaded, text: bytes }], { order: [2, false], most: 12, caption: "Spills" }));
}
