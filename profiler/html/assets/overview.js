// The first look: what was run, headline numbers, advice, and what each engine's time went to.

const HEADLINES = [ // metric of summary.json, title, how it is written
  ["total_time", "total time", seconds], ["throughput_per_s", "requests a second", digits],
  ["tensor_engine_active_time_percent", "TensorE active", percent], ["vector_engine_active_time_percent", "VectorE active", percent],
  ["scalar_engine_active_time_percent", "ScalarE active", percent], ["gpsimd_engine_active_time_percent", "GpSimdE active", percent],
  ["dma_active_time_percent", "DMA active", percent], ["mfu_estimated_percent", "MFU: useful work of the peak", percent],
  ["hfu_estimated_percent", "HFU: all work of the peak", percent], ["mbu_estimated_percent", "DRAM bandwidth used", percent],
  ["hbm_read_bytes", "read from DRAM", bytes], ["hbm_write_bytes", "written to DRAM", bytes],
  ["dma_transfer_average_bytes", "mean DMA transfer", bytes], ["spill_save_bytes", "spilled", bytes], ["spill_reload_bytes", "reloaded", bytes],
  ["model_flops", "useful operations", (value) => count(value)], ["inferred_share", "of the time rests on inferred costs", (value) => percent(100 * value)],
];

function showHeader(report) {
  const { facts } = report;
  $("title").textContent = wellFormed(clip(report.title, 400));
  const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  $("subtitle").textContent = [report.target, plural(facts.cores, "core"), plural(facts.requests, "request"), plural(facts.runs, "stage run"),
    plural(facts.instructions, "instruction"), plural(facts.transfers, "DMA transfer")].join(" · ");
  const dropped = Object.entries(report.dropped).map(([table, n]) => `${n.toLocaleString("en")} ${table}`);
  const notes = [...report.notes, ...(dropped.length ? [`Not kept in the trace: ${dropped.join(", ")}.`] : [])];
  if (notes.length) $("main").append(el("section", { role: "note" }, notes.map((note) => el("p", {}, note))));
}

function showHeadlines(report) {
  const metrics = report.summary, cards = HEADLINES.filter(([name]) => isNumber(metrics[name]) && (metrics[name] || !/spill/.test(name)));
  if (!cards.length) return;
  section("headlines", "Headlines", el("div", { class: "cards" },
    cards.map(([name, title, text]) => el("div", { title: name }, el("b", {}, text(metrics[name])), el("span", {}, title)))));
}

function showAdvice(report) {
  const findings = report.analyses.advice?.findings;
  if (!findings) return;
  section("advice", "Advice", findings.length ? el("ul", { class: "advice" }, findings.map(findingView)) : el("p", {}, "None of the rules applies."));
}

/** A finding: what is at stake, what was found, what to change, and where. */
function findingView(finding) {
  const level = finding.share_percent >= 25 ? "high" : finding.share_percent >= 5 ? "medium" : "low";
  const where = finding.where ?? [], shown = where.slice(0, 6).map((text) => clip(text, 80)).join(", ");
  return el("li", { class: level }, el("b", {}, finding.finding), el("p", {}, finding.change.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part))),
    el("p", { class: "soft" }, `${percent(finding.share_percent)} of the time at stake · ${words(finding.rule)}`,
      where.length > 0 && ` · ${shown}${where.length > 6 ? ` and ${where.length - 6} more` : ""}`));
}

/** How much of the slowest stage's time each resource is at work or waited for. */
function showLimits(report) {
  const copies = (report.analyses.resources?.copies ?? []).filter((copy) => Object.keys(copy.shares).length);
  if (!copies.length) return;
  const colour = (copy) => (name) => (copy.limited_by.includes(name) ? "var(--bad)" : "var(--accent)");
  const title = (copy) => `${copies.length > 1 ? `Model ${copy.model}, copy ${copy.copy}, ` : ""}stage ${copy.stage} on core ${copy.core}: ${copy.limited_by.join(" and ")}`;
  section("limits", "What limits the rate", el("p", { class: "soft" }, "How much of the time from one request to the next each resource is at work, or waited for, on the slowest stage. A resource at 100 % sets the rate alone."),
    el("div", { class: "columns" }, copies.slice(0, 8).map((copy) =>
      el("div", {}, el("h3", {}, title(copy)), shareBars(Object.entries(copy.shares), 100, colour(copy), String)))));
}

const ENGINE_TITLES = { tensor: "TensorE", vector: "VectorE", scalar: "ScalarE", gpsimd: "GpSimdE", sync: "SyncE" };
const STALL_TEXT = {
  tensor: "waits for TensorE", vector: "waits for VectorE", scalar: "waits for ScalarE", gpsimd: "waits for GpSimdE", sync: "waits for SyncE",
  signal: "semaphore latency", dma_start: "DMA start", dma_queue: "DMA queue", dma_service: "DMA transfer", dram: "DRAM bandwidth", link: "chip links",
  port: "memory port", raw: "own earlier result", pe_slot: "stationary matrix", end_of_stream: "done, others run", no_input: "no input",
  no_room: "no room behind", no_work: "no request", switch: "switching models", not_recorded: "not recorded",
};
const stallText = (name) => STALL_TEXT[name] ?? words(name);

/** A bar of [name, percent] parts. */
function stallBar(parts) {
  return el("div", { class: "bar", role: "img", "aria-label": parts.map(([name, value]) => `${stallText(name)} ${percent(value)}`).join(", ") },
    parts.map(([name, value]) => el("i", { title: `${stallText(name)}: ${percent(value)}`, style: { width: `${value}%`, background: stallColour(name) } })));
}

function showStalls(report) {
  const stalls = report.analyses.stalls;
  if (!stalls) return;
  const bars = el("div", { class: "bars" }), names = el("div"), all = "all cores";
  const cores = [...new Set(stalls.lanes.map((lane) => lane.core))];
  const choose = (label, options) => el("select", { "aria-label": label, change: () => draw() },
    options.map(([value, text]) => el("option", { value }, text)));
  const view = choose("View", [["direct", "What each engine waited for"], ["root", "What its waits come down to"]]);
  const core = choose("Core", [[all, "All cores"], ...cores.map((n) => [n, `Core ${n}`])]);

  function partsOf(engine) {
    if (core.value === all) return Object.entries(stalls.engines_percent[engine][view.value]);
    const lane = stalls.lanes.find((one) => String(one.core) === core.value && one.engine === engine);
    return Object.entries(lane?.[view.value] ?? {}).map(([name, ticks]) => [name, 100 * ticks / Math.max(stalls.total_ticks, 1)]);
  }

  function draw() {
    const used = new Map();
    bars.replaceChildren(...Object.keys(ENGINE_TITLES).flatMap((engine) => {
      const parts = partsOf(engine);
      for (const [name, value] of parts) used.set(name, (used.get(name) ?? 0) + value);
      const active = parts.find(([name]) => name === "active")?.[1] ?? 0;
      const [most, share] = parts.filter(([name]) => name !== "active").reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0]);
      return [el("span", {}, ENGINE_TITLES[engine]), stallBar(parts),
        el("span", { class: "value" }, `${percent(active)} active`, most ? `, ${percent(share)} ${stallText(most)}` : "")];
    }));
    names.replaceChildren(legend([...used].filter(([, value]) => value >= 0.05).sort((a, b) => b[1] - a[1]).map(([name]) => [stallColour(name), stallText(name)])));
  }

  section("stalls", "Where each engine's time goes", el("div", { class: "controls" }, view, cores.length > 1 && core), bars, names,
    el("p", { class: "soft" }, `Every bar is the whole ${seconds(stalls.total_ticks / stalls.tick_hz)}${cores.length > 1 ? " of each core" : ""} and adds up to 100 %.`));
  draw();
  Theme.listeners.push(draw);
}
