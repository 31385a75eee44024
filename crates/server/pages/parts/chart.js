// A line chart a person can ask: hover or arrow keys read values, a drag or + and − zoom, a table gives the numbers.

import { h, fill, button, announce } from "../lib/dom.js";
import { figure } from "../lib/format.js";
import { draw, extent } from "./plot.js";
import { elapsedLabel } from "./scale.js";
import { nearest, smooth } from "./series.js";
import { open } from "./dialog.js";

const ROWS = 12;

export class LineChart {
  /** `onzoom(range)`: a person chose a stretch of x, or null for all of it. `onsettle(range)`: it has rested there. */
  constructor({ title, onzoom, level = 3, legend = true, wide = false }) {
    this.title = title;
    this.onzoom = onzoom;
    this.series = [];
    this.hidden = new Set();
    this.options = { smooth: 0, log: false, time: false, zoom: null };
    this.canvas = h("canvas", { tabindex: "0", role: "application", "aria-roledescription": "line chart", "aria-label": title,
      title: "" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.selection = h("div", { class: "selection", hidden: true });
    this.note = h("p", { class: "chart-note" });
    this.legend = h("ul", { class: "legend", hidden: !legend });
    this.plot = h("div", { class: "plot" }, this.canvas, this.selection, this.note, this.tip);
    this.element = h("figure", { class: wide ? "chart wide" : "chart" },
      h("figcaption", {}, h(`h${level}`, {}, title), h("span", { class: "chart-tools" },
        this.back = button("Show all of the curve", () => this.zoom(null), { glyph: "reset", kind: "quiet small", iconOnly: true, hidden: true }),
        button("Zoom in", () => this.zoomBy(0.5), { glyph: "plus", kind: "quiet small", iconOnly: true }),
        button("Zoom out", () => this.zoomBy(2), { glyph: "minus", kind: "quiet small", iconOnly: true }),
        button("Values as a table", () => this.table(), { glyph: "table", kind: "quiet small", iconOnly: true }),
        button("Larger", () => this.enlarge(), { glyph: "expand", kind: "quiet small", iconOnly: true }))),
      this.plot, this.legend);
    this.listen();
  }

  listen() {
    this.size = new ResizeObserver(() => this.redraw());
    this.size.observe(this.plot);
    this.repaint = () => this.redraw();
    addEventListener("theme", this.repaint);
    const canvas = this.canvas;
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => { this.pressed = null; this.selection.hidden = true; });
    canvas.addEventListener("pointerleave", () => { if (this.pressed === null) this.point(null); });
    canvas.addEventListener("dblclick", () => this.zoom(null));
    canvas.addEventListener("blur", () => this.point(null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.pressed = null;
  }

  destroy() {
    this.size.disconnect();
    removeEventListener("theme", this.repaint);
    cancelAnimationFrame(this.frame);
  }

  /** `[{id, label, look, curve, start, href}]`; a curve has steps, values and times, `start` is where its time begins. */
  show(series) {
    this.given = series;
    this.prepare();
    this.drawLegend();
    this.redraw();
  }

  configure(options) {
    Object.assign(this.options, options);
    if (this.given) this.prepare();
    this.redraw();
  }

  prepare() {
    const { time, smooth: weight } = this.options;
    this.series = this.given.map((one) => {
      const curve = one.detail && !time ? one.detail : one.curve;
      const xs = time ? curve.times.map((at) => (at - one.start) / 1000) : curve.steps;
      const ys = curve.values;
      return { ...one, xs, ys, smoothed: smooth(ys, weight), off: this.hidden.has(one.id) };
    });
  }

  get whole() {
    // Detail is a stretch of the curve: the extent is always that of the whole.
    const all = this.given.map((one) => ({ xs: this.options.time ? one.curve.times.map((at) => (at - one.start) / 1000) : one.curve.steps }));
    return extent(all);
  }

  get view() {
    return this.options.zoom ?? (this.given ? this.whole : null);
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width || !height || !this.given) return;
    const { log, time } = this.options;
    this.geometry = draw(this.canvas, width, height, { series: this.series, view: this.view, log, time, cursor: this.cursor });
    const empty = this.series.every((one) => one.xs.length === 0);
    this.note.textContent = this.geometry ? "" : empty ? "Nothing logged yet" : log ? "No positive values for the log scale" : "Nothing here to draw";
    this.back.hidden = !this.options.zoom;
    this.canvas.setAttribute("aria-label", this.describe());
    this.element.dataset.points = this.series.reduce((sum, one) => sum + one.xs.length, 0);
  }

  /** What the picture says, in a sentence for each of the first curves. */
  describe() {
    const told = this.series.filter((one) => !one.off && one.ys.length).slice(0, 4).map((one) => {
      const finite = one.ys.filter(Number.isFinite);
      if (finite.length === 0) return `${one.label}: no finite values`;
      const low = finite.reduce((a, b) => Math.min(a, b));
      const high = finite.reduce((a, b) => Math.max(a, b));
      return `${one.label}: ${figure(one.ys[one.ys.length - 1])} at ${this.place(one.xs[one.xs.length - 1])}, lowest ${figure(low)}, highest ${figure(high)}`;
    });
    const more = this.series.length > 4 ? `; and ${this.series.length - 4} more curves` : "";
    return `${this.title}. ${told.join("; ")}${more}. Arrow keys read values, plus and minus zoom, 0 shows all.`;
  }

  place(x) {
    return this.options.time ? elapsedLabel(x) : `step ${Number.isInteger(x) ? x : x.toFixed(1)}`;
  }

  drawLegend() {
    const key = this.given.map((one) => `${one.id}${one.label}`).join("\n");
    if (this.legendKey === key || this.legend.hidden) return;
    this.legendKey = key;
    fill(this.legend, this.given.map((one) => h("li", {}, h("button", { type: "button", class: "legend-item", "aria-pressed": String(!this.hidden.has(one.id)),
      title: "Show or hide", onclick: (event) => this.toggle(one.id, event.currentTarget) }, swatch(one.look), h("span", {}, one.label)))));
  }

  toggle(id, control) {
    if (this.hidden.has(id)) this.hidden.delete(id);
    else this.hidden.add(id);
    control?.setAttribute("aria-pressed", String(!this.hidden.has(id)));
    this.prepare();
    this.redraw();
  }

  /** Draws one curve above the others: the table beside the chart points at it. */
  emphasise(id) {
    for (const one of this.series) {
      one.strong = one.run === id;
      one.faint = id !== null && one.run !== id;
    }
    this.redraw();
  }

  zoom(range) {
    const whole = this.whole;
    if (range && whole && range[0] <= whole[0] && range[1] >= whole[1]) range = null;
    this.options.zoom = range;
    this.redraw();
    this.onzoom?.(range);
    announce(range ? `${this.title}: ${this.place(range[0])} to ${this.place(range[1])}` : `${this.title}: all of the curve`);
  }

  zoomBy(factor, around = null) {
    const view = this.view;
    const whole = this.whole;
    if (!view || !whole) return;
    const middle = around ?? this.cursor?.x ?? (view[0] + view[1]) / 2;
    const least = this.options.time ? 1 : 2;
    const span = Math.max((view[1] - view[0]) * factor, Math.min(least, whole[1] - whole[0]));
    const share = (middle - view[0]) / (view[1] - view[0] || 1);
    const from = Math.max(whole[0], middle - share * span);
    this.zoom([from, Math.min(whole[1], from + span)]);
  }

  wheel(event) {
    if (!(event.ctrlKey || event.metaKey) || !this.geometry) return;
    event.preventDefault();
    this.zoomBy(event.deltaY > 0 ? 1.25 : 0.8, this.geometry.x.back(event.offsetX));
  }

  press(event) {
    if (event.button !== 0 || !this.geometry) return;
    if (event.pointerType === "touch") { this.move(event); return; }
    this.canvas.setPointerCapture(event.pointerId);
    this.pressed = event.offsetX;
  }

  move(event) {
    if (!this.geometry) return;
    const { box, x } = this.geometry;
    const at = Math.min(Math.max(event.offsetX, box.left), box.right);
    if (this.pressed !== null && Math.abs(at - this.pressed) > 4) {
      this.selection.hidden = false;
      this.selection.style.left = `${Math.min(at, this.pressed)}px`;
      this.selection.style.width = `${Math.abs(at - this.pressed)}px`;
      this.selection.style.top = `${box.top}px`;
      this.selection.style.height = `${box.bottom - box.top}px`;
    }
    this.point(x.back(at), event.offsetY);
  }

  release(event) {
    if (this.pressed === null || !this.geometry) return;
    const { box, x } = this.geometry;
    const at = Math.min(Math.max(event.offsetX, box.left), box.right);
    const from = Math.min(Math.max(this.pressed, box.left), box.right);
    this.pressed = null;
    this.selection.hidden = true;
    if (Math.abs(at - from) > 6) this.zoom([x.back(Math.min(at, from)), x.back(Math.max(at, from))]);
  }

  /** Puts the cursor at x and tells the values there; null takes it away. */
  point(x, top = 0, spoken = false) {
    if (x === null || !this.geometry) {
      this.cursor = null;
      this.tip.hidden = true;
      this.redraw();
      return;
    }
    const rows = [];
    const indices = new Map();
    let place = null;
    for (const one of this.series) {
      if (one.off || !one.xs.length) continue;
      const index = nearest(one.xs, x);
      if (place === null || Math.abs(one.xs[index] - x) < Math.abs(place - x)) place = one.xs[index];
    }
    if (place === null) return;
    for (const one of this.series) {
      if (one.off || !one.xs.length || place < one.xs[0] || place > one.xs[one.xs.length - 1]) continue;
      const index = nearest(one.xs, place);
      indices.set(one.id, index);
      rows.push({ one, index, value: one.smoothed[index] });
    }
    this.cursor = { x: place, indices };
    this.drawTip(rows, place, top);
    this.redraw();
    if (spoken) announce(`${this.place(place)}: ${rows.slice(0, 6).map(({ one, index }) => `${one.label} ${figure(one.smoothed[index])}`).join(", ")}`);
  }

  drawTip(rows, place, top) {
    const { x, y, box } = this.geometry;
    let shown = rows;
    if (rows.length > 4) {
      shown = [...rows].sort((a, b) => b.value - a.value);
      if (shown.length > ROWS) {
        const near = (row) => Math.abs(y.at(row.value) - top);
        const kept = new Set([...rows].sort((a, b) => near(a) - near(b)).slice(0, ROWS));
        shown = shown.filter((row) => kept.has(row));
      }
    }
    const smoothed = this.options.smooth > 0;
    fill(this.tip, h("div", { class: "tip-place" }, this.place(place)), h("table", {}, h("tbody", {}, shown.map(({ one, index }) =>
      h("tr", {}, h("td", {}, swatch(one.look)), h("td", { class: "tip-name" }, one.label), h("td", { class: "number" }, figure(one.smoothed[index])),
        smoothed ? h("td", { class: "number muted" }, figure(one.ys[index])) : null)))),
    rows.length > shown.length ? h("div", { class: "muted" }, `${rows.length - shown.length} more`) : null);
    this.tip.hidden = false;
    const left = x.at(place);
    const width = this.tip.offsetWidth;
    const room = this.plot.clientWidth;
    this.tip.style.left = `${left + 12 + width < room ? left + 12 : Math.max(0, left - 12 - width)}px`;
    this.tip.style.top = `${box.top}px`;
  }

  key(event) {
    const { view } = this;
    if (!view || !this.geometry) return;
    const longest = this.series.reduce((a, b) => (b.xs.length > a.xs.length && !b.off ? b : a), { xs: [] });
    const move = (index) => {
      const at = Math.min(Math.max(index, 0), longest.xs.length - 1);
      this.point(longest.xs[at], 0, true);
    };
    const now = this.cursor ? nearest(longest.xs, this.cursor.x) : nearest(longest.xs, view[1]);
    const by = event.shiftKey ? 10 : 1;
    const keys = {
      ArrowRight: () => move(this.cursor ? now + by : now), ArrowLeft: () => move(this.cursor ? now - by : now),
      Home: () => move(0), End: () => move(longest.xs.length - 1),
      "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5), "-": () => this.zoomBy(2), 0: () => this.zoom(null),
      Escape: () => (this.cursor ? this.point(null) : this.zoom(null)),
    };
    const work = keys[event.key];
    if (!work || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    work();
  }

  enlarge() {
    const large = this.element.classList.toggle("wide");
    announce(large ? `${this.title} is larger` : `${this.title} is smaller`);
  }

  /** The numbers: every step where there are few, about 200 evenly spaced ones else. */
  table() {
    const series = this.series.filter((one) => !one.off).slice(0, 20);
    const steps = [...new Set(series.flatMap((one) => one.xs))].sort((a, b) => a - b);
    const every = Math.ceil(steps.length / 200);
    const kept = steps.filter((_, index) => index % every === 0 || index === steps.length - 1);
    const lookups = series.map((one) => new Map(one.xs.map((x, index) => [x, one.ys[index]])));
    open({ title: this.title, wide: true, body: h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Values" },
      h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, this.options.time ? "Time" : "Step"),
        series.map((one) => h("th", { scope: "col", class: "number" }, one.label)))),
      h("tbody", {}, kept.map((x) => h("tr", {}, h("th", { scope: "row" }, this.options.time ? elapsedLabel(x) : String(x)),
        lookups.map((values) => h("td", { class: "number" }, values.has(x) ? figure(values.get(x)) : "")))))),
      every > 1 ? h("p", { class: "muted" }, `Every ${every}th of ${steps.length.toLocaleString("en")} steps.`) : null) });
  }
}

/** A short stroke in a curve's colour and dashes. */
export function swatch(look) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("viewBox", "0 0 20 8");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M0 4h20");
  path.style.stroke = `var(${look.name})`;
  path.style.strokeDasharray = look.dash.join(" ");
  svg.append(path);
  return svg;
}
