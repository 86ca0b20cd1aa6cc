// Slices as pixels. The cost of a lane is bounded by the width of the canvas, however many slices it has.

/** A picture whose pixels are set directly; coordinates are device pixels. */
class Raster {
  constructor(context, width, height) {
    this.context = context;
    this.width = width;
    this.height = height;
    this.image = context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  clear(colour) { this.pixels.fill(colour); }

  fill(x0, y0, x1, y1, colour) {
    const left = Math.max(0, x0), right = Math.min(this.width, x1), bottom = Math.min(this.height, y1);
    if (right <= left) return;
    if (right - left === 1) { // most often; a store is cheaper than a call
      for (let y = Math.max(0, y0), at = y * this.width + left; y < bottom; y++, at += this.width) this.pixels[at] = colour;
      return;
    }
    for (let y = Math.max(0, y0); y < bottom; y++) this.pixels.fill(colour, y * this.width + left, y * this.width + right);
  }

  show() { this.context.putImageData(this.image, 0, 0); }
}

/**
 * Draw a lane. `view`: from, to in ticks; `colours`: pixel of each key; `texts`: takes [i, x0, x1] of slices wide enough.
 * Where slices are narrower than two pixels, a column stands for all that start in it: its height is the share of the
 * time they take, its colour that of most of a few. Columns stand at fixed times, so that they do not flicker.
 */
function drawLane(raster, lane, view, y, height, colours, texts = null, least = 40) {
  const scale = raster.width / (view.to - view.from), offset = Math.floor(view.from * scale);
  const { start, length, key, n } = lane;
  for (let i = lane.ending(view.from); i < n && start[i] < view.to;) {
    const width = length[i] * scale;
    if (width >= 2) {
      const end = i + 1 < n ? Math.min(start[i] + length[i], Math.max(start[i + 1], start[i])) : start[i] + length[i];
      const x0 = Math.floor(start[i] * scale) - offset, x1 = Math.max(x0 + 1, Math.floor(end * scale) - offset);
      raster.fill(x0, y, x1 - x0 > 4 ? x1 - 1 : x1, y + height, colours[key[i]]);
      if (texts && x1 - x0 > least) texts.push([i, Math.max(x0, 0), Math.min(x1, raster.width)]);
      i++;
    } else {
      const place = Math.floor(start[i] * scale);
      const next = lane.from((place + 1) / scale, i + 1);
      const busy = Math.min(1, (lane.sum[next] - lane.sum[i]) * scale);
      const tall = Math.max(2, Math.round(busy * height));
      raster.fill(place - offset, y + height - tall, place - offset + 1, y + height, colours[usual(key, i, next)]);
      i = next;
    }
  }
}

/** The most frequent of up to seven keys, evenly spread; the first of equals. */
function usual(key, from, to) {
  const step = Math.max(1, Math.floor((to - from) / 7));
  let best = key[from], most = 0;
  for (let i = from; i < to && most < 4; i += step) {
    let same = 0;
    for (let j = i; j < to; j += step) if (key[j] === key[i]) same++;
    if (same > most) { most = same; best = key[i]; }
  }
  return best;
}

/** Draw a curve of even steps as filled columns. */
function drawCurve(raster, values, total, view, y, height, most, colour) {
  const step = (view.to - view.from) / raster.width, bins = values.length / total;
  for (let x = 0; x < raster.width; x++) {
    const first = Math.floor((view.from + x * step) * bins), last = Math.floor((view.from + (x + 1) * step) * bins);
    let value = 0;
    for (let b = Math.max(0, first); b <= Math.max(first, last - 1) && b < values.length; b++) value = Math.max(value, values[b]);
    const tall = Math.round((value / most) * height);
    if (tall) raster.fill(x, y + height - tall, x + 1, y + height, colour);
  }
}
