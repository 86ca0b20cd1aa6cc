// Roofline: operations per byte of DRAM against operations per second, both logarithmic.

const ROOF_COLOURS = { compute: "active", memory: "dram" };

function showRoofline(report) {
  const found = report.analyses.roofline;
  if (!found?.layers?.length) return;
  const note = found.layers.some((point) => !point.intensity) ? " Layers at the right edge touch no DRAM." : "";
  section("roofline", "Roofline", chart((width) => drawRoofline(found, width)),
    el("ul", { class: "legend" }, [["active", "layer below the compute roof"], ["dram", "layer below the DRAM roof"], ["scalar", "everything together"]].map(([colour, text]) =>
      el("li", {}, el("i", { style: { background: stallColour(colour) } }), text))),
    el("p", { class: "soft" }, `One core: ${flopsText(found.mean_peak)} in ${found.used.join(", ") || "its types"}, ${bytes(found.dram_bytes_per_s)}/s of DRAM; `,
      `they meet at ${digits(found.ridge)} operations a byte. Areas show core time. What was fetched in the time of others can lift a layer above the DRAM roof.${note}`));
}

const flopsText = (value) => `${count(value)}FLOP/s`;

function drawRoofline(found, width) {
  const height = Math.round(Math.min(420, Math.max(280, width * 0.45))), box = { left: 58, right: width - 26, top: 26, bottom: height - 42 };
  const points = found.layers.filter((point) => point.attained > 0), all = [...points, found.whole].filter((point) => point.attained > 0);
  const intensities = all.map((point) => point.intensity).filter((value) => value > 0);
  const xs = decades(Math.min(found.ridge / 10, ...intensities), Math.max(found.ridge * 10, ...intensities) * 3);
  const ys = decades(Math.max(Math.min(...all.map((point) => point.attained)), found.mean_peak / 1e5), found.mean_peak * 1.2);
  const x = scaleOf(xs[0], xs.at(-1), box.left, box.right - 14, true), y = scaleOf(ys[0], ys.at(-1), box.bottom, box.top, true);
  const roof = (intensity) => Math.min(found.mean_peak, intensity * found.dram_bytes_per_s);
  const start = Math.max(xs[0], ys[0] / found.dram_bytes_per_s), ridge = Math.max(found.ridge, start);
  const line = [[start, roof(start)], [ridge, roof(ridge)], [xs.at(-1) * 2, found.mean_peak]].map(([a, b]) => `${Math.min(x(a), box.right)},${y(b)}`).join(" ");
  const most = Math.max(...points.map((point) => point.core_time), 1e-30);
  const place = (point) => ({ cx: point.intensity > 0 ? x(point.intensity) : box.right, cy: Math.min(box.bottom, y(Math.max(point.attained, ys[0]))) });
  const marks = [...points].sort((a, b) => b.core_time - a.core_time).slice(0, 2000).map((point) =>
    svg("circle", { ...place(point), r: 2.5 + 11 * Math.sqrt(point.core_time / most), fill: stallColour(ROOF_COLOURS[point.limited_by] ?? "raw"), "fill-opacity": 0.6,
      stroke: Theme.css("--card"), class: "point", click: () => showInTimeline(point.name) }, svg("title", {}, pointText(point))));
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Roofline of ${points.length} layers` },
    axes({ scale: x, values: thinned(xs, width / 70), text: count, title: "operations for each byte of DRAM" },
      { scale: y, values: ys, text: count, title: "operations a second, of one core" }, box),
    svg("polyline", { points: line, fill: "none", stroke: Theme.css("--text"), "stroke-width": 2 }),
    svg("text", { x: x(ridge) + 8, y: y(found.mean_peak) - 7 }, `peak ${flopsText(found.mean_peak)}`), marks, wholeMark(found.whole, place));
}

function wholeMark(whole, place) {
  if (!(whole.attained > 0)) return [];
  const { cx, cy } = place(whole), points = [[0, -8], [8, 0], [0, 8], [-8, 0]].map(([dx, dy]) => `${cx + dx},${cy + dy}`).join(" ");
  return [svg("polygon", { points, fill: stallColour("scalar"), stroke: Theme.css("--text") }, svg("title", {}, pointText({ ...whole, name: "everything together" })))];
}

function pointText(point) {
  const intensity = point.intensity ? `${digits(point.intensity)} operations a byte` : "no DRAM traffic";
  return `${clip(point.name, 200)} ${point.op_type}\n${flopsText(point.attained)}, ${percent(point.attained_percent)} of its roof (${point.limited_by})\n${intensity}, ${seconds(point.core_time)} of core time`;
}

/** Every n-th value, so that no more than `most` are left. */
function thinned(values, most) {
  const step = Math.max(1, Math.ceil(values.length / most));
  return values.filter((_, i) => i % step === 0);
}
