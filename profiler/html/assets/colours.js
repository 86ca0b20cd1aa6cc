// Colours of slices and stalls in both themes, and the switch between them.

const HUES = [211, 28, 145, 276, 350, 48, 185, 315, 95, 240, 12, 165];
const STALL_COLOURS = { // hue, saturation, lightness offset
  active: [150, 45, 0], tensor: [211, 70, 0], vector: [28, 80, 0], scalar: [48, 85, 0], gpsimd: [276, 50, 0],
  sync: [240, 35, 6], signal: [185, 25, 8], dma: [350, 70, 0], dma_start: [330, 55, 8], dma_queue: [340, 60, 4],
  dma_service: [350, 65, 0], dram: [0, 75, -8], link: [12, 70, 0], port: [300, 50, 0], raw: [165, 55, -4],
  pe_slot: [195, 60, 0], end_of_stream: [220, 8, 12], no_input: [220, 25, 4], input: [220, 25, 4],
  no_room: [60, 30, 0], room: [60, 30, 0], no_work: [220, 6, 16], work: [220, 6, 16], switch: [100, 45, 0],
  not_recorded: [0, 0, 10], none: [185, 25, 8], idle: [220, 8, 20],
};

const Theme = {
  dark: false,
  choice: "auto",
  listeners: [],

  /** Start with what the reader chose last, or the system's. */
  start() {
    try { this.choice = localStorage.getItem("neuronsim-theme") ?? "auto"; } catch { /* storage may be off for files */ }
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", () => this.apply());
    this.system = system;
    $("theme").addEventListener("click", () => {
      this.choice = { auto: "light", light: "dark", dark: "auto" }[this.choice] ?? "auto";
      try { localStorage.setItem("neuronsim-theme", this.choice); } catch { /* then only for this visit */ }
      this.apply();
    });
    this.apply();
  },

  apply() {
    this.dark = this.choice === "dark" || (this.choice === "auto" && this.system.matches);
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    $("theme").textContent = `Theme: ${this.choice}`;
    for (const listener of this.listeners) listener();
  },

  css(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); },
};

/** A colour of the palette by number, as CSS. */
function paletteColour(number) {
  const round = Math.floor(number / HUES.length) % 3;
  const [saturation, lightness] = Theme.dark ? [42 + 8 * round, 40 + 9 * round] : [62 - 10 * round, 72 - 9 * round];
  return `hsl(${HUES[number % HUES.length]} ${saturation}% ${lightness}%)`;
}

function stallColour(name) {
  const [hue, saturation, offset] = STALL_COLOURS[name] ?? [220, 10, 10];
  return `hsl(${hue} ${saturation}% ${Theme.dark ? 50 - offset : 58 + offset}%)`;
}

/** A CSS hsl() as a pixel of an ImageData. */
function pixel(css, strength = 1) {
  const [h, s, l] = css.match(/[\d.]+/g).map(Number);
  const chroma = (s / 100) * Math.min(l / 100, 1 - l / 100);
  const part = (n) => {
    const k = (n + h / 30) % 12;
    const value = l / 100 - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    const ground = Theme.dark ? 0.11 : 1;
    return Math.round(255 * (strength * value + (1 - strength) * ground));
  };
  return (255 << 24 | part(4) << 16 | part(8) << 8 | part(0)) >>> 0;
}
