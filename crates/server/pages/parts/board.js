// A board of charts that share their controls: smoothing, scale, what x is, zoom. What is not seen is not loaded.

import { h, fill, set, say } from "../lib/dom.js";
import * as route from "../lib/route.js";
import { look } from "../lib/palette.js";
import { LineChart } from "./chart.js";

export class ChartBoard {
  /** `runs`: `[{id, name, start, look}]`; with several of them curves are named after runs, else after metrics. */
  constructor({ histories, runs, onerror }) {
    Object.assign(this, { histories, runs, onerror });
    this.charts = new Map();
    this.state = { smooth: 0, log: false, time: false, zoom: {}, find: "" };
    this.abort = new AbortController();
    this.watch = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const chart = this.charts.get(target.dataset.chart);
        if (!chart) continue;
        chart.seen = isIntersecting;
        if (isIntersecting && chart.stale) this.load(chart);
      }
    }, { rootMargin: "300px" });
    this.controls = this.makeControls();
    this.place = h("div", { class: "board" });
    this.element = h("div", {}, this.controls, this.place);
  }

  destroy() {
    this.abort.abort();
    this.watch.disconnect();
    for (const { chart } of this.charts.values()) chart.destroy();
  }

  makeControls() {
    this.smoothing = h("input", { type: "range", min: "0", max: "0.99", step: "0.01", oninput: (event) => this.choose({ smooth: Number(event.target.value) }) });
    this.smoothed = h("output", {}, "0");
    this.log = h("input", { type: "checkbox", onchange: (event) => this.choose({ log: event.target.checked }) });
    this.steps = h("button", { type: "button", onclick: () => this.choose({ time: false }) }, "Steps");
    this.times = h("button", { type: "button", onclick: () => this.choose({ time: true }) }, "Time");
    this.find = h("input", { type: "search", placeholder: "Find a chart", "aria-label": "Find a chart", oninput: (event) => this.choose({ find: event.target.value }) });
    return h("div", { class: "chart-controls", role: "group", "aria-label": "All charts" },
      h("label", {}, "Smoothing", this.smoothing, this.smoothed), h("label", {}, this.log, "Log scale"),
      h("div", { class: "segmented", role: "group", "aria-label": "What x is" }, this.steps, this.times), this.find);
  }

  /** Takes smoothing, scale and zoom from the address. */
  read(query) {
    const zoom = {};
    for (const part of (query.get("zoom") ?? "").split(";").filter(Boolean)) {
      const [kind, from, to] = part.split("~");
      if (Number(to) > Number(from)) zoom[kind] = [Number(from), Number(to)];
    }
    const weight = Number(query.get("smooth"));
    this.state = { smooth: weight > 0 && weight < 1 ? weight : 0, log: query.get("log") === "1", time: query.get("x") === "time", zoom, find: query.get("find") ?? "" };
    this.apply();
  }

  choose(changes) {
    Object.assign(this.state, changes);
    const zoom = Object.entries(this.state.zoom).filter(([, range]) => range).map(([kind, [from, to]]) => `${kind}~${from.toPrecision(6) * 1}~${to.toPrecision(6) * 1}`).join(";");
    route.patch({ smooth: this.state.smooth || null, log: this.state.log ? "1" : null, x: this.state.time ? "time" : null, zoom, find: this.state.find });
    this.apply();
  }

  apply() {
    const { smooth, log, time, find } = this.state;
    if (document.activeElement !== this.smoothing) this.smoothing.value = smooth;
    say(this.smoothed, smooth ? smooth.toFixed(2) : "0");
    this.log.checked = log;
    set(this.steps, { "aria-pressed": String(!time) });
    set(this.times, { "aria-pressed": String(time) });
    if (document.activeElement !== this.find) this.find.value = find;
    for (const held of this.charts.values()) {
      held.chart.configure({ smooth, log, time, zoom: this.state.zoom[time ? "time" : held.plan.kind] ?? null });
      held.chart.element.hidden = find !== "" && !`${held.plan.title} ${held.plan.curves.map((curve) => curve.key).join(" ")}`.toLowerCase().includes(find.toLowerCase());
      this.settle(held);
    }
    for (const group of this.place.children) group.hidden = [...group.querySelectorAll(".chart")].every((chart) => chart.hidden);
  }

  /** Puts up the charts of `groups`; charts that are there already stay as they are. */
  show(groups, runs = this.runs) {
    this.runs = runs;
    const key = JSON.stringify(groups);
    if (key === this.planned) return;
    this.planned = key;
    const kept = new Set();
    fill(this.place, groups.map(({ title, charts }) => h("section", { class: "chart-group" }, h("h2", {}, title), h("div", { class: "charts" }, charts.map((plan) => {
      kept.add(plan.id);
      let held = this.charts.get(plan.id);
      if (!held) {
        const chart = new LineChart({ title: plan.title, legend: this.runs.length === 1 && plan.curves.length > 1, onzoom: (range) => this.zoomed(held, range) });
        chart.element.dataset.chart = plan.id;
        held = { chart, plan, stale: true, seen: false };
        this.charts.set(plan.id, held);
        this.watch.observe(chart.element);
      } else if (held.plan.curves.length !== plan.curves.length) {
        held.plan = plan;
        held.chart.legend.hidden = plan.curves.length < 2 || this.runs.length > 1;
        this.renew(held);
      }
      return held.chart.element;
    })))));
    for (const [id, held] of this.charts) {
      if (kept.has(id)) continue;
      this.watch.unobserve(held.chart.element);
      held.chart.destroy();
      this.charts.delete(id);
    }
    this.apply();
  }

  /** These metrics have new points: charts that are seen load them now, others when they are. */
  moved(keys) {
    for (const held of this.charts.values()) {
      if (held.plan.curves.some((curve) => keys.has(curve.key))) this.renew(held);
    }
  }

  renew(held) {
    held.stale = true;
    if (held.seen) this.load(held);
  }

  async load(held) {
    held.stale = false;
    const ids = this.runs.map((run) => run.id);
    try {
      await Promise.all(held.plan.curves.map(({ key }) => this.histories.load(ids, key, this.abort.signal)));
      this.draw(held);
      this.onload?.(held.plan);
    } catch (error) {
      held.stale = true;
      if (error.name !== "AbortError") this.onerror?.(error);
    }
  }

  draw(held) {
    const several = this.runs.length > 1;
    const series = [];
    this.runs.forEach((run) => {
      held.plan.curves.forEach(({ key, label }, index) => {
        const curve = this.histories.curve(run.id, key);
        if (!curve || (several && !curve.steps.length)) return;
        const detail = held.detail?.get(`${run.id}\n${key}`);
        series.push({ id: `${run.id}\n${key}`, run: run.id, label: several ? run.name : label, look: several ? run.look : look(index), curve, detail, start: run.start });
      });
    });
    held.chart.show(series);
  }

  zoomed(held, range) {
    const kind = this.state.time ? "time" : held.plan.kind;
    this.choose({ zoom: { ...this.state.zoom, [kind]: range } });
  }

  /** A stretch of a thinned curve is loaded in full once the zoom rests. */
  settle(held) {
    const range = this.state.time ? null : this.state.zoom[held.plan.kind] ?? null;
    const key = range ? range.join() : "";
    if (held.detailed === key || (!range && !held.detail)) return;
    held.detailed = key;
    clearTimeout(held.resting);
    held.resting = setTimeout(async () => {
      if (!range) {
        held.detail = null;
        if (held.chart.given) this.draw(held);
        return;
      }
      const found = new Map();
      try {
        for (const { key: metric } of held.plan.curves) {
          const thinned = this.runs.map((run) => run.id).filter((id) => this.histories.curve(id, metric)?.thinned);
          if (!thinned.length) continue;
          const curves = await this.histories.detail(thinned, metric, range[0], range[1], this.abort.signal);
          for (const [id, curve] of curves) found.set(`${id}\n${metric}`, curve);
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        held.detailed = null;
        this.onerror?.(error);
        return;
      }
      if (held.detailed !== key || !held.chart.given) return;
      held.detail = found.size ? found : null;
      this.draw(held);
    }, 250);
  }

  key(event) {
    if (event.key === "l") this.choose({ log: !this.state.log });
    else if (event.key === "x") this.choose({ time: !this.state.time });
    else return false;
    return true;
  }
}
