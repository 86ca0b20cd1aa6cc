// Elements and texts. Everything that comes from the model reaches the page as text nodes, never as markup.

const $ = (id) => document.getElementById(id);

/** An element. Attributes that are functions are listeners; children are nodes or texts. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  setAttributes(node, attributes);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map(wellFormed));
  return node;
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(node, attributes);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(wellFormed));
  return node;
}

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (name === "style") Object.assign(node.style, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, wellFormed(value));
  }
}

/** Names may hold halves of surrogate pairs, which no encoding of a page has. */
function wellFormed(value) {
  return typeof value === "string" && value.toWellFormed ? value.toWellFormed() : value;
}

/** A section of the page with its heading, listed in the contents. */
function section(id, title, ...children) {
  const node = el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), ...children);
  $("main").append(node);
  $("contents").append(el("a", { href: `#${id}`, click: (event) => { event.preventDefault(); node.scrollIntoView(); } }, title));
  return node;
}

/** A legend: [colour, text] pairs. */
function legend(pairs) {
  return el("ul", { class: "legend" }, pairs.map(([colour, text]) =>
    el("li", { title: text }, el("i", { style: { background: colour } }), el("span", {}, clip(text, 40)))));
}

function clip(text, most) {
  const flat = String(text).replace(/\s+/g, " ");
  return flat.length > most ? `${flat.slice(0, most - 1)}…` : flat;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A number with three significant digits and no exponent where it can be avoided. */
function digits(value) {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return String(+value.toFixed(1));
  if (size >= 0.01 || size === 0) return String(+value.toFixed(size >= 1 ? 2 : 3));
  return value.toExponential(1);
}

function scaled(value, units) {
  const [scale, unit] = units.find(([least]) => Math.abs(value) >= least) ?? units.at(-1);
  return `${digits(value / scale)} ${unit}`;
}

const TIME = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const BYTES = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]];
const COUNT = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
const seconds = (value) => (value === 0 ? "0" : scaled(value, TIME));
const bytes = (value) => (value === 0 ? "0" : scaled(value, BYTES));
const count = (value) => (Math.abs(value) < 1000 ? digits(value) : scaled(value, COUNT).trim());
const percent = (value) => (value > 0 && value < 0.05 ? "<0.1 %" : `${value.toFixed(1)} %`);
const words = (name) => String(name).replaceAll("_", " ");
