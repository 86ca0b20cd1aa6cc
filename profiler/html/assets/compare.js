// Two runs side by side: this one and the summary.json or report.html of another, named when written or chosen here.

const COMPARED_LESS_IS_BETTER = /time$|bytes$|_count$/;
const COMPARED_SKIP = /^(schema|inferred_parameters)$/;

/** What of a report or a summary.json is compared: metrics, layers, stalls. */
function comparable(found) {
  const summary = found.summary ?? found, analyses = found.analyses ?? {};
  const layers = summary.layers ?? analyses.layers?.layers ?? [];
  const stalls = (summary.stalls ?? analyses.stalls)?.engines_percent ?? {};
  const metrics = Object.fromEntries(Object.entries(summary).filter(([name, value]) => isNumber(value) && !COMPARED_SKIP.test(name)));
  if (!Object.keys(metrics).length && !layers.length) throw new Error("this file holds no summary of a profile");
  return { title: found.title ?? found.models?.join(", ") ?? "the other run", metrics, layers, stalls };
}

/** The summary in the text of a report.html, or of a summary.json. */
function summaryIn(text) {
  if (/^\s*\{/.test(text)) return JSON.parse(text);
  const page = new DOMParser().parseFromString(text, "text/html"), found = page.getElementById("summary");
  if (!found) throw new Error("this is no report");
  return JSON.parse(found.textContent);
}

function unitOf(name) {
  if (/_percent$|^time_percent$/.test(name)) return percent;
  if (/time$|^time$/.test(name)) return seconds;
  return /bytes$/.test(name) ? bytes : count;
}

/** Rows {name, before, after, change in percent} of two sets of numbers. */
function changes(before, after) {
  return [...new Set([...Object.keys(after), ...Object.keys(before)])].map((name) => {
    const a = before[name] ?? null, b = after[name] ?? null;
    return { name, before: a, after: b, change: a && b !== null ? 100 * (b / a - 1) : null, delta: (b ?? 0) - (a ?? 0) };
  });
}

function signed(value, text) { return `${value > 0 ? "+" : value < 0 ? "−" : ""}${text(Math.abs(value))}`; }

function changeCell(value, row) {
  if (value === null || value === undefined) return row.before === null ? "new" : row.after === null ? "gone" : "–";
  const judged = Math.abs(value) >= 1 && COMPARED_LESS_IS_BETTER.test(row.name);
  return el("span", { class: judged ? (value < 0 ? "good" : "bad") : "" }, signed(value, percent));
}

function changeTable(rows, unit, order, label, most = 25) {
  const text = (value, row) => (value === null ? "–" : (unit ?? unitOf(row.name))(value));
  return dataTable(rows, [
    { title: label, value: (row) => row.title ?? row.name },
    { title: "before", number: true, value: (row) => row.before, text }, { title: "after", number: true, value: (row) => row.after, text },
    { title: "difference", number: true, value: (row) => row.delta, text: (value, row) => signed(value, unit ?? unitOf(row.name)) },
    { title: "change", number: true, value: (row) => row.change, node: changeCell },
  ], { order, search: `Search ${label}s`, most });
}

function byLayer(layers) {
  const times = {};
  for (const row of layers) times[`${row.name}\n${row.op_type}`] = (times[`${row.name}\n${row.op_type}`] ?? 0) + row.time;
  return times;
}

function flatStalls(stalls) {
  const shares = {};
  for (const [engine, views] of Object.entries(stalls)) {
    for (const [name, value] of Object.entries(views.root)) shares[`${ENGINE_TITLES[engine] ?? engine}: ${stallText(name)}`] = value;
  }
  return shares;
}

function showComparison(place, before, after) {
  const metrics = changes(before.metrics, after.metrics).filter((row) => row.before || row.after);
  const layers = changes(byLayer(before.layers), byLayer(after.layers)).map((row) => ({ ...row, title: row.name.replace("\n", " · "), name: "time" }));
  const stalls = changes(flatStalls(before.stalls), flatStalls(after.stalls)).filter((row) => Math.abs(row.delta) >= 0.05);
  const larger = (a, b) => Math.abs(b.delta) - Math.abs(a.delta), total = metrics.find((row) => row.name === "total_time");
  place.replaceChildren(
    el("p", {}, `Before: ${clip(before.title, 200)}. After: this run.`, total?.change !== null && total ? ` Total time ${signed(total.change, percent)}.` : ""),
    el("h3", {}, "Metrics"), changeTable(metrics.map((row) => ({ ...row, title: words(row.name) })), null, null, "metric"),
    el("h3", {}, "Layers, largest difference first"), changeTable(layers.sort(larger), seconds, null, "layer"),
    el("h3", {}, "Where the time of engines goes, in percent of it"), changeTable(stalls.sort(larger), percent, null, "stall"));
}

function showCompare(report) {
  const place = el("div"), problem = el("p", { class: "bad", role: "alert" });
  const choose = el("input", { type: "file", accept: ".html,.json", "aria-label": "Report or summary of the run before", change: async () => {
    problem.textContent = "";
    try {
      showComparison(place, comparable(summaryIn(await choose.files[0].text())), comparable(report));
    } catch (error) {
      problem.textContent = `Cannot compare: ${error.message}.`;
    }
  } });
  section("compare", "Compare with another run", el("p", { class: "soft" }, "Choose the report.html or summary.json of a run before this one; it is read here and goes nowhere."),
    el("div", { class: "controls" }, choose), problem, place);
  if (report.other) showComparison(place, comparable(report.other), comparable(report));
}
