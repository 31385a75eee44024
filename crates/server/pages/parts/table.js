// A table of any length: only the rows that are seen exist. One stop for the Tab key; arrows move, Space selects, Enter opens.

import { h, fill } from "../lib/dom.js";

const AROUND = 10;
let tables = 0;

export class VirtualTable {
  /** `onopen(row)`, `onselect(row, {range})`, `onsort(column)`, `onwidth(column, width)`; `rowLink(row)`: where a row leads. */
  constructor({ label, onopen, onselect, onsort, onwidth }) {
    Object.assign(this, { onopen, onselect, onsort, onwidth });
    this.name = `table${(tables += 1)}`;
    this.rows = [];
    this.columns = [];
    this.shown = new Map();
    this.active = null;
    this.head = h("thead", { role: "rowgroup" });
    this.group = h("colgroup");
    this.before = h("tr", { class: "space", "aria-hidden": "true" });
    this.after = h("tr", { class: "space", "aria-hidden": "true" });
    this.body = h("tbody", { role: "rowgroup" }, this.before, this.after);
    this.table = h("table", { role: "grid", class: "grid", tabindex: "0", "aria-label": label, "aria-multiselectable": "true" }, this.group, this.head, this.body);
    this.element = h("div", { class: "scroller" }, this.table);
    this.element.addEventListener("scroll", () => this.plan(), { passive: true });
    this.table.addEventListener("keydown", (event) => this.key(event));
    this.table.addEventListener("focus", () => { if (this.active === null && this.rows.length) this.activate(0, false); });
    this.body.addEventListener("click", (event) => this.click(event));
    this.size = new ResizeObserver(() => this.plan());
    this.size.observe(this.element);
  }

  destroy() {
    this.size.disconnect();
    cancelAnimationFrame(this.frame);
  }

  get compact() {
    return this.element.clientWidth > 0 && this.element.clientWidth < 640;
  }

  get rowHeight() {
    return this.compact ? 84 : 36;
  }

  /** `[{id, label, title, width, numeric, sortable, fill(cell, row)}]`; the first holds the row's name. */
  setColumns(columns, sort) {
    this.columns = columns;
    this.sort = sort;
    fill(this.group, h("col", { class: "check" }), columns.map((column) => {
      const col = h("col");
      col.style.width = `${column.width}px`;
      return col;
    }), h("col"));
    fill(this.head, h("tr", { role: "row", "aria-rowindex": "1" }, h("th", { role: "columnheader", class: "check" }, this.all ?? (this.all = this.checkAll())),
      columns.map((column, index) => this.header(column, index)), h("td", { class: "rest", "aria-hidden": "true" })));
    // The sum of the columns; the empty last one takes what is left of the width.
    this.table.style.width = `max(100%, ${columns.reduce((sum, column) => sum + column.width, 40)}px)`;
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
    this.plan();
  }

  checkAll() {
    return h("input", { type: "checkbox", "aria-label": "Select all runs", tabindex: "-1", onchange: (event) => this.onselect(null, { all: event.target.checked }) });
  }

  header(column, index) {
    const sorted = this.sort?.id === column.id ? (this.sort.down ? "descending" : "ascending") : "none";
    const grip = h("span", { class: "grip", "aria-hidden": "true" });
    const header = h("th", { role: "columnheader", scope: "col", class: `${column.numeric ? "number" : ""} ${index === 0 ? "first" : ""}`.trim() || null,
      "aria-sort": column.sortable === false ? null : sorted, "aria-colindex": String(index + 2) },
    column.sortable === false ? h("span", { title: column.title ?? null }, column.label)
      : h("button", { type: "button", class: "sort", title: column.title ?? column.label, onclick: () => this.onsort(column.id) },
        h("span", { class: "sort-name" }, column.label), h("span", { class: "sort-mark", "aria-hidden": "true" }, sorted === "none" ? "" : sorted === "descending" ? "↓" : "↑")), grip);
    grip.addEventListener("pointerdown", (event) => this.resize(event, column));
    return header;
  }

  resize(event, column) {
    event.preventDefault();
    const start = event.clientX;
    const width = column.width;
    const move = (moved) => {
      column.width = Math.max(60, Math.round(width + moved.clientX - start));
      const at = this.columns.indexOf(column);
      this.group.children[at + 1].style.width = `${column.width}px`;
      this.table.style.width = `max(100%, ${this.columns.reduce((sum, one) => sum + one.width, 40)}px)`;
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      this.onwidth?.(column.id, column.width);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  }

  /** Rows are `{id, kind, …}`; of kind "group" they span the table. `selected`: ids. */
  setRows(rows, selected) {
    this.rows = rows;
    this.selected = selected;
    this.index = new Map(rows.map((row, at) => [row.id, at]));
    if (this.active !== null && !this.index.has(this.active)) this.active = null;
    this.table.setAttribute("aria-rowcount", String(rows.length + 1));
    const chosen = rows.filter((row) => row.kind !== "group" && selected.has(row.id)).length;
    const choosable = rows.filter((row) => row.kind !== "group").length;
    if (this.all) {
      this.all.checked = chosen > 0 && chosen === choosable;
      this.all.indeterminate = chosen > 0 && chosen < choosable;
    }
    this.stale = true;
    this.plan();
  }

  /** Draws these rows again, where they are seen. */
  refresh(ids) {
    for (const id of ids) this.shown.get(id)?.classList.add("stale");
    this.plan();
  }

  plan() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    const height = this.rowHeight;
    if (this.drawnHeight !== height) {
      this.drawnHeight = height;
      this.element.classList.toggle("compact", this.compact);
      for (const row of this.shown.values()) row.remove();
      this.shown.clear();
    }
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - AROUND);
    const last = Math.min(this.rows.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / height) + AROUND);
    const wanted = new Set();
    for (let at = first; at < last; at += 1) wanted.add(this.rows[at].id);
    for (const [id, row] of this.shown) {
      if (!wanted.has(id)) { row.remove(); this.shown.delete(id); }
    }
    this.before.style.height = `${first * height}px`;
    this.after.style.height = `${(this.rows.length - last) * height}px`;
    let place = this.before.nextSibling;
    for (let at = first; at < last; at += 1) {
      const data = this.rows[at];
      let row = this.shown.get(data.id);
      if (!row) {
        row = this.make(data);
        this.shown.set(data.id, row);
      } else if (this.stale || row.classList.contains("stale")) {
        this.paint(row, data);
      }
      row.setAttribute("aria-rowindex", String(at + 2));
      if (row === place) place = place.nextSibling;
      else this.body.insertBefore(row, place);
    }
    this.stale = false;
  }

  make(data) {
    const row = h("tr", { role: "row", id: `${this.name}-${data.id}`, class: data.kind === "group" ? "group" : "run" });
    row.dataset.id = data.id;
    if (data.kind === "group") row.append(h("th", { role: "gridcell", colspan: String(this.columns.length + 2), scope: "rowgroup" }));
    else {
      row.append(h("td", { role: "gridcell", class: "check" }, h("input", { type: "checkbox", tabindex: "-1" })));
      this.columns.forEach((column, index) => row.append(h(index === 0 ? "th" : "td", { role: index === 0 ? "rowheader" : "gridcell", scope: index === 0 ? "row" : null,
        class: `${column.numeric ? "number" : ""} ${index === 0 ? "first" : ""} ${column.kind ?? ""}`.trim() || null, "data-label": column.label })));
      row.append(h("td", { class: "rest", "aria-hidden": "true" }));
    }
    this.paint(row, data, true);
    return row;
  }

  paint(row, data, fresh = false) {
    row.classList.remove("stale");
    row.classList.toggle("active", data.id === this.active);
    if (data.kind === "group") {
      data.fill(row.firstElementChild);
      return;
    }
    const chosen = this.selected.has(data.id);
    row.setAttribute("aria-selected", String(chosen));
    const check = row.firstElementChild.firstElementChild;
    check.checked = chosen;
    check.setAttribute("aria-label", `Select ${data.run.name}`);
    this.columns.forEach((column, index) => {
      const cell = row.children[index + 1];
      const before = cell.textContent;
      column.fill(cell, data.run);
      if (!fresh && column.numeric && before !== cell.textContent && before !== "") {
        cell.classList.remove("moved");
        void cell.offsetWidth;
        cell.classList.add("moved");
      }
    });
  }

  click(event) {
    const row = event.target.closest("tr[data-id]");
    if (!row) return;
    const at = this.index.get(row.dataset.id);
    const data = this.rows[at];
    if (event.target.closest("a, button") && data.kind !== "group") return;
    this.activate(at, false);
    if (event.target.matches("input[type=checkbox]")) this.onselect(data, { range: event.shiftKey });
    else if (event.target.closest(".check") && data.kind !== "group") this.onselect(data, { range: event.shiftKey });
    else this.onopen(data, event);
  }

  activate(at, scroll = true) {
    const data = this.rows[at];
    if (!data) return;
    if (this.active !== null) this.shown.get(this.active)?.classList.remove("active");
    this.active = data.id;
    if (scroll) {
      const height = this.rowHeight;
      const head = this.compact ? 0 : this.head.offsetHeight;
      const top = at * height;
      if (top < this.element.scrollTop) this.element.scrollTop = top;
      else if (top + height + head > this.element.scrollTop + this.element.clientHeight) this.element.scrollTop = top + height + head - this.element.clientHeight;
    }
    if (!this.shown.has(data.id)) this.render();
    this.shown.get(data.id)?.classList.add("active");
    this.table.setAttribute("aria-activedescendant", `${this.name}-${data.id}`);
  }

  key(event) {
    if (event.target !== this.table || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.active === null ? -1 : this.index.get(this.active);
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const move = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.rows.length - 1 }[event.key];
    const data = this.rows[at];
    if (move !== undefined) {
      this.activate(Math.min(Math.max(move, 0), this.rows.length - 1));
      if (event.shiftKey && data && this.rows[move]?.kind !== "group") this.onselect(this.rows[move], { range: true });
    } else if (event.key === "Enter" && data) this.onopen(data, event);
    else if (event.key === " " && data) (data.kind === "group" ? this.onopen(data, event) : this.onselect(data, {}));
    else return;
    event.preventDefault();
  }
}
