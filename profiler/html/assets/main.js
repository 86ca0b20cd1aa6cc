// The page, from top to bottom.

/** The report with every analysis under `analyses`: the document of summary.json has most of them. */
function completed(report) {
  const { layers, operators = [], kinds = [], ...rest } = report.summary;
  return { ...report, analyses: { ...rest, ...(layers && { layers: { layers, operators, kinds } }), ...report.analyses } };
}

async function start() {
  Theme.start();
  const report = completed(JSON.parse($("summary").textContent));
  showHeader(report);
  showHeadlines(report);
  showAdvice(report);
  showLimits(report);
  showStalls(report);
  const host = el("div", {}, el("p", {}, "Unpacking the trace…"));
  section("timeline", "Timeline", host);
  showPipeline(report);
  showLayers(report);
  showCriticalPath(report);
  showRoofline(report);
  showMemory(report);
  showCompare(report);
  $("footer").append(el("p", {}, "Times are simulated. All numbers of this page stand in its source as JSON, element “summary”."));
  try {
    const data = await openTimeline();
    host.replaceChildren();
    const timeline = new Timeline(data, host);
    document.dispatchEvent(new CustomEvent("timeline", { detail: timeline }));
  } catch (error) {
    host.replaceChildren(el("p", { class: "bad" }, `The timeline cannot be shown: ${error.message}`));
    throw error;
  }
  performance.mark("ready");
  document.documentElement.dataset.ready = "true";
}

start();
