// Painting the timeline: pixels first, then texts, axis and marks above them.

function paintTimeline(timeline) {
  const { raster, ratio, view, rows, scroller } = timeline, top = scroller.scrollTop, texts = [];
  raster.clear(timeline.ground);
  const scaledRow = (row) => Math.round((row.y - top) * ratio);
  const bottom = top + timeline.canvas.clientHeight;
  rows.forEach((row, number) => {
    if (row.y + row.height < top + RULER || row.y > bottom) return;
    const y = scaledRow(row);
    if (number % 2) raster.fill(0, y, raster.width, y + Math.round(row.height * ratio), timeline.stripe);
    paintRow(timeline, row, y, texts);
  });
  raster.fill(0, 0, raster.width, RULER * ratio, timeline.stripe);
  raster.show();
  const { context } = timeline;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  paintTexts(timeline, texts);
  paintRuler(timeline);
  if (timeline.hovered) paintMark(timeline, timeline.hovered, 1);
  if (timeline.pinned) { paintMark(timeline, timeline.pinned, 2); paintArrow(timeline); }
  if (timeline.box) paintBox(timeline);
  context.setTransform(1, 0, 0, 1, 0, 0);
}

function paintRow(timeline, { track, height }, y, texts) {
  const { raster, ratio, view, colours } = timeline, size = (pixels) => Math.round(pixels * ratio);
  if (track.kind === "curve") {
    const { value } = track.columns, most = Math.max(track.limit / track.scale, track.most);
    drawCurve(raster, value, timeline.data.total, view, y + size(4), size(height - 6), most, timeline.curveColour);
    return;
  }
  if (!track.lane) return;
  const found = [], thin = track.kind === "words" ? 7 : 3;
  if (track.bubbles) drawLane(raster, track.bubbles, view, y + size(height - 6), size(3), timeline.bubbleColours);
  if (track.waits) drawLane(raster, track.waits, view, y + size(height - 6), size(5), timeline.waitColours);
  drawLane(raster, track.lane, view, y + size(2), size(height - thin - 1), track.columns.request ? timeline.requestColours : colours, found, 28 * ratio);
  for (const [index, x0, x1] of found) texts.push([track, index, x0 / ratio, x1 / ratio, y / ratio + 2 + (height - thin - 1) / 2]);
}

function sliceName(timeline, track, index) {
  const { labels } = timeline.data, label = track.columns.label[index], request = track.columns.request?.[index];
  if (track.kind === "requests") return `request ${request}`;
  if (track.kind === "host") return `request ${request} · ${labels.name[label]}`;
  if (track.kind === "runs") return `${request} · ${labels.name[label]}`;
  return labels.layer[label] ? `${labels.layer[label]} · ${labels.name[label]}` : labels.name[label];
}

function paintTexts(timeline, texts) {
  const { context } = timeline;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.fillStyle = Theme.dark ? "#fff" : "#111";
  for (const [track, index, x0, x1, y] of texts.slice(0, 1500)) {
    if (y < RULER) continue;
    const room = Math.floor((x1 - x0 - 6) / 6.1);
    if (room >= 3) context.fillText(clip(sliceName(timeline, track, index), room), x0 + 3, y);
  }
}

function paintRuler(timeline) {
  const { context, view, data, canvas } = timeline, hz = data.tick_hz;
  context.fillStyle = Theme.dark ? "#b8c0cc" : "#4a5361";
  context.textBaseline = "middle";
  context.font = "11px system-ui, sans-serif";
  for (const value of ticksBetween(view.from / hz, view.to / hz, canvas.clientWidth / 110)) {
    const x = Math.round(timeline.xOf(value * hz));
    context.globalAlpha = 0.25;
    context.fillRect(x, RULER - 6, 1, canvas.clientHeight);
    context.globalAlpha = 1;
    if (x >= 0) context.fillText(axisTime(value, view.span / hz), x + 4, RULER / 2);
  }
}

/** A time on an axis: as many digits as neighbours need to differ. */
function axisTime(value, span) {
  const [scale, unit] = TIME.find(([least]) => span >= least * 2) ?? TIME.at(-1);
  const places = Math.max(0, Math.min(6, 1 - Math.floor(Math.log10(span / scale / 5))));
  return `${+(value / scale).toFixed(places)} ${unit}`;
}

function placeOf(timeline, { track, index }) {
  const row = timeline.rows.find((candidate) => candidate.track === track);
  if (!row) return null;
  const x0 = timeline.xOf(track.lane.start[index]), x1 = timeline.xOf(track.lane.end(index));
  return { x0, x1: Math.max(x1, x0 + 2), y0: row.y - timeline.scroller.scrollTop + 1.5, height: row.height - 4 };
}

function paintMark(timeline, slice, width) {
  const place = placeOf(timeline, slice), { context } = timeline;
  if (!place || place.y0 < RULER - 4) return;
  context.strokeStyle = Theme.dark ? "#fff" : "#000";
  context.lineWidth = width;
  context.strokeRect(place.x0 - 0.5, place.y0, place.x1 - place.x0 + 1, place.height);
}

/** From the end of the word that was waited for to the start of the one that is pinned. */
function paintArrow(timeline) {
  const source = producerOf(timeline, timeline.pinned);
  const from = source && placeOf(timeline, source), to = placeOf(timeline, timeline.pinned);
  if (!from || !to) return;
  const { context } = timeline, y0 = from.y0 + from.height / 2, y1 = to.y0 + to.height / 2;
  const bend = Math.max(20, Math.abs(to.x0 - from.x1) / 2);
  context.strokeStyle = context.fillStyle = stallColour("dma");
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(from.x1, y0);
  context.bezierCurveTo(from.x1 + bend, y0, to.x0 - bend, y1, to.x0, y1);
  context.stroke();
  context.beginPath();
  context.moveTo(to.x0, y1);
  context.lineTo(to.x0 - 7, y1 - 4);
  context.lineTo(to.x0 - 7, y1 + 4);
  context.fill();
}

function paintBox({ context, box, canvas }) {
  context.fillStyle = "hsl(211 80% 55% / 0.2)";
  context.fillRect(Math.min(box.x0, box.x1), RULER, Math.abs(box.x1 - box.x0), canvas.clientHeight);
}
