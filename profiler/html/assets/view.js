// The part of the time that is shown, and what else of the timeline a link to it keeps.

class View {
  constructor(total) {
    this.total = Math.max(total, 1);
    this.from = 0;
    this.to = this.total;
    this.listeners = [];
  }

  get span() { return this.to - this.from; }

  /** Show a range, kept within the trace and no narrower than ten ticks. */
  show(from, to) {
    const span = Math.min(Math.max(to - from, 10), this.total * 1.02);
    const middle = (from + to) / 2, slack = this.total * 0.01;
    this.from = Math.min(Math.max(middle - span / 2, -slack), this.total + slack - span);
    this.to = this.from + span;
    this.changed();
  }

  /** Zoom by a factor about a time that stays where it is. */
  zoom(factor, about = (this.from + this.to) / 2) {
    this.show(about - (about - this.from) * factor, about + (this.to - about) * factor);
  }

  pan(share) { this.show(this.from + share * this.span, this.to + share * this.span); }
  fit() { this.show(0, this.total); }
  changed() { for (const listener of this.listeners) listener(); }
}

/** The page's address after "#": key=value pairs. Sections' own names are left alone. */
const Address = {
  timer: 0,
  read() {
    const text = location.hash.slice(1);
    return text.includes("=") ? new URLSearchParams(text) : new URLSearchParams();
  },
  write(values) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null));
      try { history.replaceState(null, "", `#${kept}`); } catch { /* some browsers refuse it for files */ }
    }, 200);
  },
};

/** Round steps for an axis: about `most` of them between two values. */
function ticksBetween(from, to, most) {
  const raw = (to - from) / Math.max(most, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((n) => n * power >= raw) ?? 10);
  const values = [];
  for (let k = Math.ceil(from / step); k * step <= to; k++) values.push(k * step);
  return values;
}
