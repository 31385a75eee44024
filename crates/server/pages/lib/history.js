// The histories of metrics, as the charts take them: thinned by the server, kept here, extended by what is new.

import * as api from "./api.js";

const MOST_RUNS = 100;
const END = 2147483647;

/** Points of one curve, in the order of steps. */
export class Curve {
  constructor() {
    this.steps = [];
    this.values = [];
    this.times = [];
    this.thinned = false;
  }

  get last() {
    return this.steps.length ? this.steps[this.steps.length - 1] : -1;
  }

  /** Appends what lies behind the last step; a value logged twice at a step counts as its later one. */
  extend(points) {
    let grown = false;
    for (const { step, value, timestamp } of points) {
      if (step < this.last) continue;
      if (step === this.last) {
        const at = this.steps.length - 1;
        if (this.times[at] === timestamp && Object.is(this.values[at], value)) continue;
        this.values[at] = value;
        this.times[at] = timestamp;
      } else {
        this.steps.push(step);
        this.values.push(value);
        this.times.push(timestamp);
      }
      grown = true;
    }
    return grown;
  }
}

function sorted(metrics) {
  const byRun = new Map();
  for (const metric of metrics ?? []) {
    const id = metric.run_id;
    if (!byRun.has(id)) byRun.set(id, []);
    byRun.get(id).push({ step: Number(metric.step ?? 0), value: Number(metric.value ?? 0), timestamp: Number(metric.timestamp ?? 0) });
  }
  for (const points of byRun.values()) points.sort((a, b) => a.step - b.step || a.timestamp - b.timestamp);
  return byRun;
}

export class Histories {
  constructor() {
    this.curves = new Map();
    this.running = new Map();
  }

  curve(run, key) {
    return this.curves.get(`${run}\n${key}`) ?? null;
  }

  /** The curves of `runs`; what is known already is asked for from its last step on. */
  load(runs, key, signal) {
    const name = `${key}\n${runs.join()}`;
    if (!this.running.has(name)) {
      this.running.set(name, this.fetch(runs, key, signal).finally(() => this.running.delete(name)));
    }
    return this.running.get(name);
  }

  async fetch(runs, key, signal) {
    const fresh = runs.filter((run) => !this.curve(run, key));
    const known = runs.filter((run) => this.curve(run, key));
    let grown = fresh.length > 0;
    const limit = Math.max(200, Math.min(2500, Math.floor(60000 / runs.length)));
    for (let start = 0; start < fresh.length; start += MOST_RUNS) {
      const part = fresh.slice(start, start + MOST_RUNS);
      const points = sorted((await api.metricHistory(part, key, { limit }, { signal })).metrics);
      for (const run of part) {
        const curve = new Curve();
        curve.extend(points.get(run) ?? []);
        curve.thinned = curve.steps.length >= limit * 0.9;
        this.curves.set(`${run}\n${key}`, curve);
      }
    }
    for (let start = 0; start < known.length; start += MOST_RUNS) {
      const part = known.slice(start, start + MOST_RUNS);
      const from = Math.max(0, Math.min(...part.map((run) => this.curve(run, key).last)));
      const points = sorted((await api.metricHistory(part, key, { from, to: END, limit: 2500 }, { signal })).metrics);
      for (const run of part) grown = this.curve(run, key).extend(points.get(run) ?? []) || grown;
    }
    return grown;
  }

  /** A stretch of steps in full, for a chart that is zoomed into a thinned curve. */
  async detail(runs, key, from, to, signal) {
    const found = new Map();
    for (let start = 0; start < runs.length; start += MOST_RUNS) {
      const part = runs.slice(start, start + MOST_RUNS);
      const window = { from: Math.max(0, Math.floor(from)), to: Math.ceil(to), limit: 2500 };
      const points = sorted((await api.metricHistory(part, key, window, { signal })).metrics);
      for (const run of part) {
        const curve = new Curve();
        curve.extend(points.get(run) ?? []);
        found.set(run, curve);
      }
    }
    return found;
  }
}
