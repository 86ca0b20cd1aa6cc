// Axes for hand-drawn charts. A chart is an SVG whose coordinates are CSS pixels at the width it had when drawn.

/** A scale from values to pixels; logarithmic where `log`. */
function scaleOf(from, to, low, high, log = false) {
  const f = log ? Math.log10 : (value) => value, a = f(from), b = f(to) === a ? a + 1 : f(to);
  return (value) => low + ((f(value) - a) / (b - a)) * (high - low);
}

/** Powers of ten from the first at or below `from` to the first at or above `to`. */
function decades(from, to) {
  const values = [];
  for (let p = Math.floor(Math.log10(from)); p <= Math.ceil(Math.log10(to)); p++) values.push(10 ** p);
  return values;
}

/** Lines and texts of both axes. `x`, `y`: {scale, values, text, title}; `box`: {left, right, top, bottom}. */
function axes(x, y, box) {
  const line = (x1, y1, x2, y2) => svg("line", { class: "axis", x1, y1, x2, y2 });
  const across = x.values.map((value) => [line(x.scale(value), box.top, x.scale(value), box.bottom),
    svg("text", { x: x.scale(value), y: box.bottom + 15, "text-anchor": "middle" }, x.text(value))]);
  const up = y.values.map((value) => [line(box.left, y.scale(value), box.right, y.scale(value)),
    svg("text", { x: box.left - 6, y: y.scale(value) + 4, "text-anchor": "end" }, y.text(value))]);
  return [...across.flat(), ...up.flat(),
    svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 33, "text-anchor": "middle" }, x.title ?? ""),
    svg("text", { x: box.left, y: box.top - 8, "text-anchor": "start" }, y.title ?? "")];
}

/** A place for a chart that is drawn anew when its width or the theme changes. `draw(width)` returns an SVG. */
function chart(draw) {
  const place = el("div", { class: "chart" });
  let width = 0;
  const redraw = () => { if (width) place.replaceChildren(draw(width)); };
  new ResizeObserver(() => {
    const now = Math.floor(place.clientWidth);
    if (now !== width) { width = now; redraw(); }
  }).observe(place);
  Theme.listeners.push(redraw);
  place.redraw = redraw;
  return place;
}

/** The points of a staircase through (x, y) pairs, ending at `last`. */
function stairs(xs, ys, last) {
  const points = [];
  xs.forEach((x, i) => points.push(`${x},${ys[i]}`, `${i + 1 < xs.length ? xs[i + 1] : last},${ys[i]}`));
  return points.join(" ");
}
