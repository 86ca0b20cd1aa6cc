// A table that sorts by a click on a heading and keeps only the rows that hold a text.

/**
 * Columns: {title, value(row), text(value, row)?, node(value, row)?, number?}. Options: order: [column, ascending],
 * search: what the box is called, most: rows shown before "show all".
 */
function dataTable(rows, columns, { order = null, search = "", most = 200, caption = "" } = {}) {
  const state = { order, query: "", all: false };
  const body = el("tbody"), heads = columns.map((column, number) => headOf(column, number, state, () => fill()));
  const box = search && el("input", { type: "search", placeholder: search, "aria-label": search,
    input: () => { state.query = box.value.toLowerCase(); fill(); } });
  const more = el("button", { type: "button", click: () => { state.all = true; fill(); } });
  const counted = el("span", { class: "found", "aria-live": "polite" });

  function fill() {
    const wanted = rows.filter((row) => !state.query || columns.some((column) => !column.number && String(column.value(row)).toLowerCase().includes(state.query)));
    if (state.order) {
      const [number, up] = state.order, { value } = columns[number];
      wanted.sort((a, b) => (up ? 1 : -1) * compareValues(value(a), value(b)));
    }
    const shown = state.all ? wanted : wanted.slice(0, most);
    body.replaceChildren(...shown.map((row) => el("tr", {}, columns.map((column) => cellOf(column, row)))));
    counted.textContent = state.query ? `${wanted.length} of ${rows.length}` : "";
    more.hidden = shown.length === wanted.length;
    more.textContent = `Show all ${wanted.length}`;
    heads.forEach((head, number) => {
      const sorted = state.order?.[0] === number ? (state.order[1] ? "ascending" : "descending") : "none";
      head.setAttribute("aria-sort", sorted);
      head.firstChild.textContent = columns[number].title + { ascending: " ▲", descending: " ▼", none: "" }[sorted];
    });
  }

  fill();
  return el("div", {}, box && el("div", { class: "controls" }, box, counted),
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption || search || "Table" },
      el("table", {}, el("thead", {}, el("tr", {}, heads)), body)), more);
}

function headOf(column, number, state, changed) {
  const sort = () => {
    state.order = [number, state.order?.[0] === number ? !state.order[1] : !column.number];
    changed();
  };
  return el("th", { scope: "col", class: column.number ? "number" : "" },
    el("button", { type: "button", title: column.help ?? `Sort by ${column.title}`, click: sort }, column.title));
}

function cellOf(column, row) {
  const value = column.value(row);
  const content = column.node ? column.node(value, row) : column.text ? column.text(value, row) : value ?? "";
  const long = !column.number && typeof content === "string";
  return el("td", { class: column.number ? "number" : "" }, long ? el("span", { class: "name", title: content }, clip(content, 300)) : content);
}

/** Numbers by size, texts by alphabet, what is absent last of all. */
function compareValues(a, b) {
  const absent = (value) => value === null || value === undefined || value === "";
  if (absent(a) || absent(b)) return absent(a) - absent(b);
  return isNumber(a) && isNumber(b) ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}
