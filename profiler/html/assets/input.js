// What the reader does to the timeline: wheel, pointer, fingers, keys, search.

function timelineControls(timeline) {
  const button = (text, title, action) => el("button", { type: "button", title, "aria-label": title, click: action }, text);
  timeline.search = el("input", { type: "search", placeholder: "Find a layer, operator or instruction", "aria-label": "Find in the timeline",
    input: () => find(timeline, timeline.search.value), keydown: (event) => { if (event.key === "Enter") findNext(timeline, event.shiftKey ? -1 : 1); } });
  timeline.chooser = el("select", { "aria-label": "Colour slices by", change: () => {
    timeline.by = timeline.chooser.value;
    timeline.colour();
    timeline.changed();
  } }, Object.entries(COLOUR_BY).map(([value, text]) => el("option", { value }, `Colour: ${text}`)));
  const all = (open) => {
    for (const track of timeline.data.tracks) if (track.children.length && (open || track.kind === "runs")) track.open = open;
    timeline.toggled = true;
    timeline.layout();
    timeline.changed();
  };
  return el("div", { class: "controls" }, timeline.search, timeline.found, timeline.chooser,
    el("span", { class: "buttons" }, button("−", "Zoom out", () => timeline.view.zoom(2)), button("+", "Zoom in", () => timeline.view.zoom(0.5)),
      button("◀", "Earlier", () => timeline.view.pan(-0.4)), button("▶", "Later", () => timeline.view.pan(0.4)),
      button("All", "Show the whole time", () => timeline.view.fit()),
      button("Open cores", "Show engines and queues of all cores", () => all(true)), button("Close cores", "Show cores as one row each", () => all(false))),
    el("details", { class: "help" }, el("summary", {}, "How to move"), el("p", {},
      "Drag to move; Ctrl and wheel, or pinch, to zoom; after a click into the timeline the wheel alone zooms. Shift and drag zooms to a range. ",
      "Double-click zooms to a slice, a click pins it. Keys: ← → or A D move, + − or W S zoom, 0 shows all, F zooms to the pinned slice, ",
      "[ ] step through its track, P goes to what it waited for, / searches, Enter finds the next, Escape lets go. The address keeps the view.")));
}

function find(timeline, query) {
  timeline.query = query;
  timeline.colour();
  const tracks = timeline.data.tracks.filter((track) => track.lane && query);
  let total = 0;
  for (const { columns } of tracks) for (const label of columns.label) if (timeline.matches[label]) total++;
  timeline.found.textContent = query ? `${total.toLocaleString("en")} slices` : "";
  timeline.changed();
}

/** Pin the next slice, by start, that the search matches. */
function findNext(timeline, way) {
  if (!timeline.query) return;
  const { pinned, data, matches } = timeline;
  const now = pinned ? pinned.track.lane.start[pinned.index] : way > 0 ? -1 : Infinity;
  let best = null;
  for (const track of data.tracks) {
    if (!track.lane) continue;
    const { start } = track.lane, { label } = track.columns;
    for (let i = track.lane.from(now + (way > 0 ? 0.5 : 0)) - (way > 0 ? 0 : 1); i >= 0 && i < start.length; i += way) {
      if (!matches[label[i]]) continue;
      if (!best || (start[i] - best.start) * way < 0) best = { track, index: i, start: start[i] };
      break;
    }
  }
  if (best) timeline.pin({ track: best.track, index: best.index }, true);
}

function addInput(timeline) {
  const { canvas, view } = timeline;
  canvas.addEventListener("wheel", (event) => {
    const focused = document.activeElement === canvas, zoom = event.ctrlKey || event.metaKey || (focused && !event.shiftKey);
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
    if (!sideways && !zoom) return; // the page scrolls
    event.preventDefault();
    if (sideways) view.pan(sideways / canvas.clientWidth);
    else view.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) * (event.deltaMode ? 0.05 : 0.003)), timeline.timeAt(event.offsetX));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    const slice = timeline.sliceAt(event.offsetX, event.offsetY);
    if (!slice) return;
    const { lane } = slice.track, length = Math.max(lane.length[slice.index], 5);
    view.show(lane.start[slice.index] - length / 4, lane.end(slice.index) + length / 4);
  });
  canvas.addEventListener("keydown", (event) => { if (timelineKey(timeline, event.key)) event.preventDefault(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
    event.preventDefault();
    timeline.search.focus();
  });
  addPointers(timeline);
}

function timelineKey(timeline, key) {
  const { view, pinned } = timeline;
  const step = (way) => pinned && timeline.pin({ track: pinned.track, index: Math.min(Math.max(pinned.index + way, 0), pinned.track.lane.n - 1) }, true);
  const actions = {
    ArrowLeft: () => view.pan(-0.1), a: () => view.pan(-0.1), ArrowRight: () => view.pan(0.1), d: () => view.pan(0.1),
    "+": () => view.zoom(0.7), "=": () => view.zoom(0.7), w: () => view.zoom(0.7), "-": () => view.zoom(1 / 0.7), s: () => view.zoom(1 / 0.7),
    0: () => view.fit(), Home: () => view.fit(), "[": () => step(-1), "]": () => step(1),
    f: () => pinned && view.show(pinned.track.lane.start[pinned.index] - pinned.track.lane.length[pinned.index], pinned.track.lane.end(pinned.index) + pinned.track.lane.length[pinned.index]),
    p: () => { const source = pinned && producerOf(timeline, pinned); if (source) timeline.pin(source, true); },
    ArrowUp: () => timeline.scroller.scrollBy(0, -40), ArrowDown: () => timeline.scroller.scrollBy(0, 40),
    Escape: () => { timeline.pin(null); timeline.canvas.blur(); },
  };
  const action = actions[key.length === 1 ? key.toLowerCase() : key];
  action?.();
  return Boolean(action);
}

/** Drag, range, click and pinch, for mouse and fingers alike. */
function addPointers(timeline) {
  const { canvas, view } = timeline, down = new Map();
  let moved = false, pinch = 0;
  const spread = () => { const [a, b] = [...down.values()]; return Math.max(Math.abs(a.x - b.x), 10); };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    moved = false;
    if (down.size === 2) pinch = spread();
    if (event.shiftKey) timeline.box = { x0: event.offsetX, x1: event.offsetX };
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId), x = event.offsetX, y = event.offsetY;
    if (!last) {
      timeline.hovered = timeline.sliceAt(x, y);
      showTip(timeline, timeline.hovered, event.clientX, event.clientY);
      timeline.draw();
      return;
    }
    if (Math.abs(x - last.x) < 3 && !moved) return;
    moved = true;
    if (timeline.box) timeline.box.x1 = x;
    else if (down.size === 1) view.pan((last.x - x) / canvas.clientWidth);
    if (!timeline.box) down.set(event.pointerId, { x, y });
    if (down.size === 2) {
      const now = spread(), middle = [...down.values()].reduce((sum, point) => sum + point.x / 2, 0);
      view.zoom(pinch / now, timeline.timeAt(middle));
      pinch = now;
    }
    showTip(timeline, null);
    timeline.draw();
  });
  const up = (event) => {
    if (!down.delete(event.pointerId)) return;
    const { box } = timeline;
    timeline.box = null;
    if (box && Math.abs(box.x1 - box.x0) > 4) view.show(timeline.timeAt(Math.min(box.x0, box.x1)), timeline.timeAt(Math.max(box.x0, box.x1)));
    else if (!moved && event.type === "pointerup") timeline.pin(timeline.sliceAt(event.offsetX, event.offsetY));
    timeline.draw();
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => { timeline.hovered = null; showTip(timeline, null); timeline.draw(); });
}
