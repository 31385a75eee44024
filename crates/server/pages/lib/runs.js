// The runs of a server: loaded page by page, then kept up with by asking only for what can have changed.

import * as api from "./api.js";

const FIRST_PAGE = 100;
const PAGE = 1000;
export const MOST = 20000;
const GONE = 20;

export class RunStore {
  /** `onchange(ids)`: these runs are new or different; null: all of them. */
  constructor(onchange) {
    this.onchange = onchange;
    this.runs = new Map();
    this.experiments = new Map();
    this.polls = 0;
  }

  async loadExperiments(signal) {
    const found = await api.experiments({ signal });
    const before = this.experiments.size;
    this.experiments = new Map(found.map((one) => [String(one.experiment_id), { id: String(one.experiment_id), name: one.name }]));
    return this.experiments.size !== before;
  }

  get ids() {
    return this.only ? [this.only] : [...this.experiments.keys()];
  }

  /** Loads anew. What was there stays until the first page of the new is here. */
  async load({ only = null, view = "ACTIVE_ONLY", filter = "" }) {
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    Object.assign(this, { only, view, filter, loading: true, cut: false });
    try {
      if (!this.experiments.size || (only && !this.experiments.has(only))) await this.loadExperiments(abort.signal);
      const found = new Map();
      let token;
      let first = true;
      do {
        const ask = { experiments: this.ids, filter, view, limit: first ? FIRST_PAGE : PAGE, token, order: ["attributes.start_time DESC"] };
        const answer = this.ids.length ? await api.searchRuns(ask, { signal: abort.signal }) : {};
        for (const raw of answer.runs ?? []) {
          const run = api.runOf(raw);
          found.set(run.id, run);
        }
        token = answer.next_page_token;
        if (found.size >= MOST) { this.cut = Boolean(token); token = null; }
        this.runs = found;
        this.loading = Boolean(token);
        this.onchange(null);
        first = false;
      } while (token);
    } finally {
      if (this.abort === abort) this.loading = false;
    }
  }

  /** Asks for running and for new runs. Resolves to whether something moved. */
  async poll(signal) {
    if (this.loading) return true;
    this.polls += 1;
    let fresh = false;
    if (this.polls % 5 === 0 || this.experiments.size === 0) fresh = await this.loadExperiments(signal);
    if (this.view !== "ACTIVE_ONLY" || !this.ids.length) return fresh;
    const known = [...this.runs.values()];
    const since = known.reduce((latest, run) => Math.max(latest, run.start), 0);
    const base = this.filter ? `${this.filter} and ` : "";
    const ask = (condition) => api.searchRuns({ experiments: this.ids, filter: base + condition, limit: 500, order: ["attributes.start_time DESC"] }, { signal });
    const before = known.filter((run) => run.status === "RUNNING" || run.status === "SCHEDULED").map((run) => run.id);
    const [running, started] = await Promise.all([ask("attributes.status = 'RUNNING'"), ask(`attributes.start_time > ${since}`)]);
    const seen = [...(running.runs ?? []), ...(started.runs ?? [])].map(api.runOf);
    const here = new Set(seen.map((run) => run.id));
    for (const id of before.filter((one) => !here.has(one)).slice(0, GONE)) {
      const run = await api.run(id, { signal }).catch((error) => { if (error.isGone || error.name === "AbortError") throw error; return null; });
      if (run && !run.deleted) seen.push(run);
      else if (this.runs.delete(id)) fresh = true;
    }
    const changed = seen.filter((run) => differs(this.runs.get(run.id), run)).map((run) => run.id);
    for (const run of seen) this.runs.set(run.id, run);
    if (fresh) this.onchange(null);
    else if (changed.length) this.onchange(changed);
    return fresh || changed.length > 0;
  }

  get running() {
    for (const run of this.runs.values()) if (run.status === "RUNNING") return true;
    return false;
  }

  stop() {
    this.abort?.abort();
  }
}

/** Whether two looks at a run show different things. */
export function differs(before, after) {
  if (!before) return true;
  if (before.status !== after.status || before.name !== after.name || before.end !== after.end || before.deleted !== after.deleted) return true;
  const same = (a, b) => {
    const keys = Object.keys(b);
    return keys.length === Object.keys(a).length && keys.every((key) => Object.is(a[key], b[key]));
  };
  if (!same(before.metrics, after.metrics) || !same(before.params, after.params) || !same(before.tags, after.tags)) return true;
  return Object.keys(after.latest).some((key) => before.latest[key]?.step !== after.latest[key].step);
}

/** Every key of the runs' metrics, params and tags, in the order in which they are met. */
export function keysOf(runs) {
  const found = { metrics: new Set(), params: new Set(), tags: new Set() };
  for (const run of runs) {
    for (const kind of ["metrics", "params", "tags"]) {
      for (const key of Object.keys(run[kind])) found[kind].add(key);
    }
  }
  return { metrics: [...found.metrics], params: [...found.params], tags: [...found.tags] };
}

/** Settings that are not the same everywhere: what a comparison is about. */
export function differing(runs) {
  const { params } = keysOf(runs);
  return params.filter((key) => runs.some((run) => run.params[key] !== runs[0].params[key])).sort();
}
