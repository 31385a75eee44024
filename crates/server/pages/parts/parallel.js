// Parallel coordinates: an axis for each setting and metric, a line for each run. A drag along an axis keeps what passes through it.

import { h, say, announce } from "../lib/dom.js";
import { figure } from "../lib/format.js";
import { resolved } from "../lib/palette.js";
import { linear, logarithmic, logTicks, ticks, label } from "./scale.js";

const TOP = 44;
const BOTTOM = 20;
const LEAST = 110;

/** How an axis orders values: as numbers where all are numbers (by powers where they span three or more), else as words. */
function axisOf({ id, name, value }, runs) {
  const values = runs.map(value);
  const told = values.filter((one) => one !== undefined && one !== "null" && one !== "");
  const numbers = told.map(Number);
  if (told.length && numbers.every(Number.isFinite)) {
    const low = Math.min(...numbers);
    const high = Math.max(...numbers);
    const log = low > 0 && high / low >= 1000;
    const few = [...new Set(numbers)].sort((a, b) => a - b);
    return { id, name, low, high, log, few: few.length <= 6 ? few : null, of: (run) => { const one = value(run); return one === undefined || one === "null" || one === "" ? null : Number(one); }, show: figure };
  }
  const words = [...new Set(told.map(String))].sort();
  return { id, name, words, of: (run) => { const one = value(run); return one === undefined ? null : words.indexOf(String(one)); }, show: (at) => words[at] ?? "" };
}

export class Parallel {
  /** `onbrush(brushes)`: stretches of axes were chosen, `{id: [low, high]}` as shares of the axis. */
  constructor({ onbrush }) {
    this.onbrush = onbrush;
    this.brushes = {};
    this.focused = null;
    this.canvas = h("canvas", { tabindex: "0", role: "application", "aria-roledescription": "parallel coordinates" });
    this.scroll = h("div", { class: "parallel" }, this.canvas);
    this.told = h("p", { class: "muted", role: "status" });
    this.element = h("div", {}, this.scroll, this.told);
    this.size = new ResizeObserver(() => this.redraw());
    this.size.observe(this.scroll);
    this.repaint = () => this.redraw();
    addEventListener("theme", this.repaint);
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerup", (event) => this.release(event));
    this.canvas.addEventListener("pointerleave", () => { if (!this.drag) this.focus(null); });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  destroy() {
    this.size.disconnect();
    removeEventListener("theme", this.repaint);
  }

  show(runs, axes, brushes) {
    this.runs = runs;
    this.axes = axes.map((axis) => axisOf(axis, runs));
    this.brushes = brushes;
    this.canvas.setAttribute("aria-label", `Parallel coordinates of ${runs.length} runs over ${this.axes.map((axis) => axis.name).join(", ")}. Up and down go through the runs. The settings tab has the same values as a table.`);
    this.redraw();
  }

  redraw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  layout() {
    const width = Math.max(this.scroll.clientWidth, this.axes.length * LEAST);
    const height = this.scroll.clientHeight - 4;
    this.axes.forEach((axis, index) => {
      axis.x = this.axes.length < 2 ? width / 2 : 70 + (index * (width - 140)) / (this.axes.length - 1);
      const ends = [height - BOTTOM, TOP];
      if (axis.words) axis.scale = linear(-0.5, Math.max(0.5, axis.words.length - 0.5), ...ends);
      else if (axis.low === axis.high) axis.scale = linear(axis.low - (Math.abs(axis.low) || 1), axis.high + (Math.abs(axis.high) || 1), ...ends);
      else axis.scale = (axis.log ? logarithmic : linear)(axis.low, axis.high, ...ends);
    });
    return [width, height];
  }

  share(axis, y) {
    const [bottom, top] = [this.scroll.clientHeight - 4 - BOTTOM, TOP];
    return Math.min(1, Math.max(0, (bottom - y) / (bottom - top)));
  }

  passes(run) {
    return this.axes.every((axis) => {
      const brush = this.brushes[axis.id];
      if (!brush) return true;
      const value = axis.of(run);
      if (value === null) return false;
      const share = this.share(axis, axis.scale.at(value));
      return share >= brush[0] - 1e-9 && share <= brush[1] + 1e-9;
    });
  }

  paint() {
    if (!this.runs || !this.scroll.clientWidth) return;
    const [width, height] = this.layout();
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const family = getComputedStyle(this.canvas).fontFamily;
    const kept = this.runs.filter((run) => this.passes(run));
    const keptIds = new Set(kept.map((run) => run.id));
    for (const run of this.runs) if (!keptIds.has(run.id)) this.line(pen, run, resolved("--line"), 1, 1);
    for (const run of kept) if (run.id !== this.focused) this.line(pen, run, resolved(run.look.name), 1.6, this.focused ? 0.25 : 0.9);
    const focused = this.runs.find((run) => run.id === this.focused);
    if (focused) this.line(pen, focused, resolved(focused.look.name), 3, 1);
    for (const axis of this.axes) this.axis(pen, axis, height, family, focused);
    const brushed = Object.keys(this.brushes).length > 0;
    const values = focused ? `${focused.name}: ${this.axes.map((axis) => `${axis.name} ${axis.of(focused) === null ? "–" : axis.show(axis.of(focused))}`).join(", ")}` : brushed ? `${kept.length} of ${this.runs.length} runs pass: ${kept.slice(0, 6).map((run) => run.name).join(", ")}${kept.length > 6 ? "…" : ""}. A click on an axis frees it.` : "Drag along an axis to keep the runs that pass through it.";
    say(this.told, values);
  }

  line(pen, run, colour, width, alpha) {
    pen.strokeStyle = colour;
    pen.fillStyle = colour;
    pen.lineWidth = width;
    pen.globalAlpha = alpha;
    pen.setLineDash(run.look.dash);
    pen.beginPath();
    let before = null;
    for (const axis of this.axes) {
      const value = axis.of(run);
      const place = value === null ? null : [axis.x, axis.scale.at(value)];
      if (place && before) {
        const middle = (before[0] + place[0]) / 2;
        pen.bezierCurveTo(middle, before[1], middle, place[1], ...place);
      } else if (place) pen.moveTo(...place);
      before = place;
    }
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }

  axis(pen, axis, height, family, focused) {
    pen.strokeStyle = resolved("--edge");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(Math.round(axis.x) + 0.5, TOP);
    pen.lineTo(Math.round(axis.x) + 0.5, height - BOTTOM);
    pen.stroke();
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.font = `600 12px ${family}`;
    pen.fillStyle = resolved("--ink");
    pen.fillText(clipped(pen, axis.name, LEAST - 6), axis.x, 18);
    pen.font = `11px ${family}`;
    const values = axis.words ? axis.words.map((_, at) => at) : axis.few ? axis.few : axis.log ? logTicks(axis.low, axis.high) : ticks(axis.low, axis.high, 5);
    const step = values.length > 1 ? values[1] - values[0] : 0;
    pen.textAlign = "left";
    for (const value of values) {
      const text = clipped(pen, axis.words ? axis.words[value] : axis.log || axis.few ? figure(value) : label(value, step), 64);
      this.tag(pen, text, axis.x + 6, axis.scale.at(value), resolved("--muted"));
    }
    const brush = this.brushes[axis.id];
    if (brush) {
      const length = height - BOTTOM - TOP;
      pen.fillStyle = resolved("--accent");
      pen.globalAlpha = 0.25;
      pen.fillRect(axis.x - 8, height - BOTTOM - brush[1] * length, 16, Math.max(2, (brush[1] - brush[0]) * length));
      pen.globalAlpha = 1;
    }
    if (focused && axis.of(focused) !== null) {
      pen.fillStyle = resolved(focused.look.name);
      pen.beginPath();
      pen.arc(axis.x, axis.scale.at(axis.of(focused)), 4, 0, 7);
      pen.fill();
    }
  }

  /** Text with a rim of the ground's colour, so that lines behind it do not cut it. */
  tag(pen, text, left, top, colour) {
    pen.strokeStyle = resolved("--surface");
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeText(text, left, top);
    pen.fillStyle = colour;
    pen.fillText(text, left, top);
  }

  nearestAxis(x) {
    const axis = this.axes.reduce((a, b) => (Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a));
    return Math.abs(axis.x - x) < 24 ? axis : null;
  }

  press(event) {
    const axis = this.axes.length ? this.nearestAxis(event.offsetX) : null;
    if (!axis || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { axis, from: event.offsetY };
  }

  move(event) {
    if (this.drag) {
      // The ends are hard to hit: what is near one means it.
      const snap = (share) => (share > 0.97 ? 1 : share < 0.03 ? 0 : share);
      const ends = [this.drag.from, event.offsetY].map((y) => snap(this.share(this.drag.axis, y))).sort((a, b) => a - b);
      this.brushes = { ...this.brushes, [this.drag.axis.id]: ends };
      this.redraw();
      return;
    }
    this.focus(this.under(event.offsetX, event.offsetY));
  }

  release(event) {
    if (!this.drag) return;
    const { axis, from } = this.drag;
    this.drag = null;
    if (Math.abs(event.offsetY - from) < 5) { const { [axis.id]: _, ...rest } = this.brushes; this.brushes = rest; }
    this.onbrush(this.brushes);
    this.redraw();
  }

  /** The run whose line lies under a place. */
  under(x, y) {
    const at = this.axes.findIndex((axis) => axis.x >= x);
    if (at < 1) return null;
    const [left, right] = [this.axes[at - 1], this.axes[at]];
    const share = (x - left.x) / (right.x - left.x);
    const ease = share * share * (3 - 2 * share);
    let best = null;
    let distance = 9;
    for (const run of this.runs) {
      const [a, b] = [left.of(run), right.of(run)];
      if (a === null || b === null || !this.passes(run)) continue;
      const line = left.scale.at(a) * (1 - ease) + right.scale.at(b) * ease;
      if (Math.abs(line - y) < distance) { distance = Math.abs(line - y); best = run.id; }
    }
    return best;
  }

  focus(id) {
    if (id === this.focused) return;
    this.focused = id;
    this.redraw();
  }

  key(event) {
    if (event.key === "Escape") { this.brushes = {}; this.onbrush({}); this.focus(null); this.redraw(); event.preventDefault(); return; }
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const runs = this.runs.filter((run) => this.passes(run));
    const at = runs.findIndex((run) => run.id === this.focused);
    const run = runs[(at + by + runs.length) % runs.length];
    if (!run) return;
    this.focus(run.id);
    announce(`${run.name}: ${this.axes.map((axis) => `${axis.name} ${axis.of(run) === null ? "none" : axis.show(axis.of(run))}`).join(", ")}`);
  }
}

function clipped(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let kept = text;
  while (kept.length > 1 && pen.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}
