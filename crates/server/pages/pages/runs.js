// Runs: every training as a row, live, searched, ordered, grouped, compared, deleted and restored.

import { h, fill, button, icon, say, set, announce } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { keep, load } from "../lib/prefs.js";
import { Poller } from "../lib/poll.js";
import * as api from "../lib/api.js";
import * as route from "../lib/route.js";
import { STATES } from "../lib/progress.js";
import { keysOf, MOST, RunStore } from "../lib/runs.js";
import { VirtualTable } from "../parts/table.js";
import { SearchField, isComplete, isCondition } from "../parts/search.js";
import { chooseColumns, column, ordered, standard } from "../parts/columns.js";
import { ask, attempt, failure, toast } from "../parts/dialog.js";
import { firstRun } from "../parts/empty.js";

export class RunsPage {
  constructor(main) {
    document.title = "Runs · yolo11";
    main.className = "fills";
    this.main = main;
    this.selected = new Set();
    this.closed = new Set();
    this.haystacks = new WeakMap();
    this.widths = load("widths", {});
    this.store = new RunStore((ids) => this.arrived(ids));
    this.table = new VirtualTable({ label: "Runs", onopen: (row, event) => this.open(row, event), onselect: (row, how) => this.select(row, how),
      onsort: (id) => this.sortBy(id), onwidth: (id, width) => { this.widths[id] = width; keep("widths", this.widths); } });
    this.search = new SearchField({ onchange: (text) => this.typed(text), keys: () => keysOf(this.store.runs.values()) });
    this.build();
    this.poller = new Poller((signal) => this.poll(signal), () => (this.store.running ? 2000 : 5000));
    this.ticker = setInterval(() => { if (!document.hidden && this.store.running) this.table.refresh([...this.store.runs.values()].filter((run) => run.status === "RUNNING").map((run) => run.id)); }, 1000);
  }

  build() {
    this.experiment = h("select", { "aria-label": "Experiment", onchange: (event) => this.goTo(event.target.value) });
    this.state = h("select", { "aria-label": "State", onchange: (event) => this.change({ state: event.target.value }) },
      h("option", { value: "" }, "Every state"), Object.entries(STATES).filter(([name]) => name !== "SCHEDULED").map(([name, { text }]) => h("option", { value: name }, text)));
    this.view = h("select", { "aria-label": "Active or deleted", class: "short", onchange: (event) => this.change({ view: event.target.value }) },
      h("option", { value: "" }, "Active"), h("option", { value: "deleted" }, "Deleted"));
    this.order = h("select", { "aria-label": "Order", class: "short only-phone", onchange: (event) => this.change({ sort: event.target.value }) });
    this.group = button("Group", () => this.toggleGroup(), { glyph: "group", title: "Group by experiment (e)", "aria-pressed": "false" });
    this.columns = button("Columns", () => this.pickColumns(), { glyph: "columns", title: "Choose columns (k)" });
    this.counted = h("p", { class: "counted", role: "status" });
    this.bar = h("div", { class: "selection-bar", role: "region", "aria-label": "Selected runs", hidden: true });
    this.place = h("div", { class: "runs-place" }, h("p", { class: "loading" }, "Loading the runs…"));
    fill(this.main, h("h1", { class: "unseen" }, "Runs"), h("div", { class: "toolbar", role: "search" }, this.search.element, this.experiment, this.state, this.view, this.order, this.group, this.columns),
      this.counted, this.place, this.bar);
  }

  destroy() {
    this.gone = true;
    clearInterval(this.ticker);
    clearTimeout(this.typing);
    this.poller.stop();
    this.store.stop();
    this.table.destroy();
  }

  /** Takes the state from the address. */
  update({ path, query }) {
    this.only = path[0] === "experiments" ? path[1] ?? null : query.get("experiment");
    this.query = query;
    this.words = query.get("q") ?? "";
    this.search.set(this.words);
    this.selected = new Set(route.list(query.get("select")));
    this.closed = new Set(route.list(query.get("closed")));
    this.state.value = query.get("state") ?? "";
    this.view.value = query.get("view") ?? "";
    set(this.group, { "aria-pressed": String(query.get("group") === "1") });
    const filter = isCondition(this.words) ? this.words : "";
    const wanted = JSON.stringify([this.only, this.view.value, filter]);
    if (wanted === this.loaded) this.arrange();
    else if (!filter || isComplete(filter)) this.load(wanted, filter);
  }

  async load(wanted, filter) {
    this.loaded = wanted;
    this.search.tell("");
    this.counted.classList.add("busy");
    try {
      await this.store.load({ only: this.only, view: this.view.value === "deleted" ? "DELETED_ONLY" : "ACTIVE_ONLY", filter });
    } catch (error) {
      if (this.gone || error.name === "AbortError" || this.loaded !== wanted) return;
      if (filter && error.status === 400) { this.search.tell(error.message, true); return; }
      this.loaded = null;
      if (this.store.runs.size) { toast(error.message, { kind: "bad" }); return; }
      this.counted.classList.remove("busy");
      failure(this.place, error, () => this.load(wanted, filter));
      addEventListener("server-back", () => { if (!this.gone && this.loaded === null) this.load(wanted, filter); }, { once: true });
    }
  }

  poll(signal) {
    return this.loaded === null ? api.experiments({ signal }).then(() => true) : this.store.poll(signal);
  }

  arrived(ids) {
    if (this.gone) return;
    if (ids === null) this.drawExperiments();
    this.arrange(ids);
  }

  drawExperiments() {
    const all = [...this.store.experiments.values()];
    const names = all.map((one) => `${one.id}${one.name}`).join("\n");
    if (names !== this.experimentNames) {
      this.experimentNames = names;
      fill(this.experiment, h("option", { value: "" }, "Every experiment"), all.map((one) => h("option", { value: one.id }, one.name)));
    }
    this.experiment.value = this.only ?? "";
  }

  /** Filters, orders and groups what is loaded, and shows it. */
  arrange(changed = null) {
    if (this.gone) return;
    const runs = this.found();
    const grouped = this.query.get("group") === "1";
    this.drawColumns(grouped);
    const { id, down } = this.sort;
    const by = column(id, { experiments: this.store.experiments });
    const sorted = ordered(runs, by, down);
    this.shown = sorted;
    const rows = grouped ? this.grouped(sorted) : sorted.map((run) => ({ kind: "run", id: run.id, run }));
    this.table.setRows(rows, this.selected);
    if (changed) this.table.refresh(changed);
    this.count(sorted.length);
    this.drawBar();
    if (this.store.runs.size === 0 && !this.store.loading) this.drawEmpty();
    else if (sorted.length === 0 && !this.store.loading) this.drawNothing();
    else if (this.place.firstElementChild !== this.table.element) fill(this.place, this.table.element);
    this.counted.classList.toggle("busy", this.store.loading);
  }

  found() {
    const state = this.state.value;
    const words = isCondition(this.words) ? [] : this.words.toLowerCase().split(/\s+/).filter(Boolean);
    return [...this.store.runs.values()].filter((run) => (!state || run.status === state) && words.every((word) => this.haystack(run).includes(word)));
  }

  haystack(run) {
    let text = this.haystacks.get(run);
    if (text === undefined) {
      const parts = [run.name, run.id, run.user, STATES[run.status]?.text ?? run.status, this.store.experiments.get(run.experiment)?.name ?? ""];
      for (const [key, value] of Object.entries(run.params)) parts.push(`${key}=${value}`);
      for (const [key, value] of Object.entries(run.tags)) parts.push(`${key}=${value}`);
      for (const input of run.inputs) parts.push(input.dataset.name, input.dataset.digest);
      text = parts.join("\n").toLowerCase();
      this.haystacks.set(run, text);
    }
    return text;
  }

  grouped(runs) {
    const groups = new Map();
    for (const run of runs) {
      if (!groups.has(run.experiment)) groups.set(run.experiment, []);
      groups.get(run.experiment).push(run);
    }
    return [...groups].flatMap(([id, members]) => {
      const closed = this.closed.has(id);
      const name = this.store.experiments.get(id)?.name ?? id;
      const running = members.filter((run) => run.status === "RUNNING").length;
      const draw = (cell) => fill(cell, h("div", { class: "group-head" }, h("button", { type: "button", tabindex: "-1", class: "quiet", "aria-expanded": String(!closed) }, icon(closed ? "right" : "down"), h("strong", {}, name)),
        h("span", { class: "muted" }, count(members.length, "run")), running ? h("span", { class: "state running" }, `${running} running`) : null));
      return [{ kind: "group", id: `group-${id}`, group: id, fill: draw }, ...(closed ? [] : members.map((run) => ({ kind: "run", id: run.id, run })))];
    });
  }

  get sort() {
    const text = this.query.get("sort") || "-started";
    return { id: text.replace(/^-/, ""), down: text.startsWith("-") };
  }

  get columnIds() {
    const chosen = this.query.get("cols") ? route.list(this.query.get("cols")) : load("columns", null);
    if (chosen) return chosen;
    // What is usual is decided by the first runs, and stays while they change.
    if (!this.usual || this.usualFor !== this.loaded) {
      this.usual = standard([...this.store.runs.values()].slice(0, 500), this.store.experiments, this.query.get("group") === "1", Boolean(this.only));
      if (this.store.runs.size) this.usualFor = this.loaded;
    }
    return this.usual;
  }

  drawColumns(grouped) {
    const compact = this.table.compact || matchMedia("(max-width: 700px)").matches;
    let ids = this.columnIds;
    if (compact) ids = [...ids.filter((id) => id === "state"), ...ids.filter((id) => id.startsWith("metrics.")).slice(0, 4)];
    const key = JSON.stringify([ids, this.sort, grouped, this.store.experiments.size, compact]);
    if (key === this.columnKey) return;
    this.columnKey = key;
    const made = ["name", ...ids].map((id) => column(id, { experiments: this.store.experiments, widths: this.widths }));
    this.table.setColumns(made, this.sort);
    fill(this.order, [["-started", "Newest"], ["started", "Oldest"], ["name", "Name"], ...this.columnIds.filter((id) => id.startsWith("metrics.")).flatMap((id) => {
      const label = column(id, { experiments: this.store.experiments }).label;
      return [[`-${id}`, `${label}, highest`], [id, `${label}, lowest`]];
    })].map(([value, text]) => h("option", { value }, text)));
    this.order.value = this.query.get("sort") || "-started";
  }

  count(shown) {
    const all = this.store.runs.size;
    const running = [...this.store.runs.values()].filter((run) => run.status === "RUNNING").length;
    const parts = [shown === all ? count(all, "run") : `${shown.toLocaleString("en")} of ${count(all, "run")}`];
    if (running && this.view.value !== "deleted") parts.push(`${running} running`);
    if (this.store.cut) parts.push(`only the newest ${MOST.toLocaleString("en")} are loaded: narrow by a condition`);
    if (this.store.loading) parts.push("loading…");
    say(this.counted, parts.join(" · "));
  }

  drawEmpty() {
    if (this.view.value === "deleted") fill(this.place, h("div", { class: "empty" }, h("h2", {}, "No deleted runs"), h("p", {}, "What you delete can be restored from here.")));
    else if (isCondition(this.words)) this.drawNothing();
    else fill(this.place, firstRun());
  }

  drawNothing() {
    fill(this.place, h("div", { class: "empty" }, h("h2", {}, "No run fits"), h("p", {}, "Nothing here has what you are looking for."),
      button("Show all runs", () => this.change({ q: null, state: null }))));
  }

  // What a person does.

  change(changes, options) {
    route.patch(changes, options);
    this.update(route.current());
  }

  goTo(experiment) {
    const { query } = route.current();
    for (const name of ["select", "closed", "experiment"]) query.delete(name);
    route.go(route.href(experiment ? ["experiments", experiment] : [], query));
  }

  typed(text) {
    clearTimeout(this.typing);
    const condition = isCondition(text);
    if (condition && !isComplete(text)) { this.search.tell("A condition: name, comparison, value. Joined with and."); return; }
    if (!condition) this.search.tell("");
    this.typing = setTimeout(() => this.change({ q: text }), condition ? 300 : 60);
  }

  sortBy(id) {
    const { id: now, down } = this.sort;
    const numeric = column(id, { experiments: this.store.experiments }).numeric;
    const next = now === id ? !down : Boolean(numeric);
    this.change({ sort: `${next ? "-" : ""}${id}` });
    announce(`Ordered by ${id.replace(/^(metrics|params|tags)\./, "")}, ${next ? "descending" : "ascending"}`);
  }

  toggleGroup() {
    this.change({ group: this.query.get("group") === "1" ? null : "1", closed: null });
  }

  pickColumns() {
    chooseColumns({ chosen: this.columnIds, runs: [...this.store.runs.values()], experiments: this.store.experiments,
      onchange: (ids) => { keep("columns", ids); this.change({ cols: route.joined(ids) }); },
      onreset: () => { keep("columns", null); this.change({ cols: null }); } });
  }

  open(row, event) {
    if (row.kind === "group") {
      const closed = new Set(this.closed);
      if (!closed.delete(row.group)) closed.add(row.group);
      this.change({ closed: route.joined([...closed]) });
    } else if (event.metaKey || event.ctrlKey) window.open(route.runLink(row.run), "_blank", "noopener");
    else route.go(route.runLink(row.run));
  }

  select(row, { range = false, all }) {
    const selected = new Set(this.selected);
    if (row === null) {
      selected.clear();
      if (all) for (const run of this.shown) selected.add(run.id);
    } else if (range && this.lastSelected) {
      const ids = this.table.rows.filter((one) => one.kind === "run").map((one) => one.id);
      const [a, b] = [ids.indexOf(this.lastSelected), ids.indexOf(row.id)].sort((x, y) => x - y);
      for (const id of ids.slice(Math.max(0, a), b + 1)) selected.add(id);
    } else if (!selected.delete(row.id)) selected.add(row.id);
    this.lastSelected = row?.id ?? null;
    // An address cannot hold a thousand ids; so many are selected to be deleted, not to be linked.
    this.selected = selected;
    route.patch({ select: selected.size <= 40 ? route.joined([...selected]) : null });
    this.query = route.current().query;
    this.table.setRows(this.table.rows, selected);
    this.drawBar();
    announce(`${count(selected.size, "run")} selected`);
  }

  drawBar() {
    const chosen = [...this.selected].filter((id) => this.store.runs.has(id));
    this.bar.hidden = chosen.length === 0;
    if (!chosen.length) return;
    const deleted = this.view.value === "deleted";
    fill(this.bar, h("strong", {}, `${chosen.length.toLocaleString("en")} selected`),
      deleted ? button("Restore", () => this.restore(chosen), { glyph: "reset", kind: "primary" })
        : button("Compare", () => this.compare(), { kind: "primary", disabled: chosen.length < 2, title: chosen.length < 2 ? "Select two or more" : "Compare (c)" }),
      deleted ? null : button("Delete", () => this.remove(chosen), { glyph: "trash" }),
      button("Clear", () => this.select(null, { all: false }), { kind: "quiet" }));
  }

  compare() {
    const chosen = [...this.selected].filter((id) => this.store.runs.has(id));
    if (chosen.length >= 2) route.go(route.href(["compare"], { runs: route.joined(chosen.slice(0, 100)) }));
  }

  async remove(ids) {
    const names = ids.slice(0, 3).map((id) => this.store.runs.get(id).name).join(", ");
    const running = ids.filter((id) => this.store.runs.get(id).status === "RUNNING").length;
    const agreed = await ask({ title: `Delete ${count(ids.length, "run")}?`, agree: "Delete",
      text: `${names}${ids.length > 3 ? ` and ${ids.length - 3} more` : ""}. ${running ? `${count(running, "run")} still trains, which goes on. ` : ""}Deleted runs can be restored until they are collected with yolo11 tracking gc.` });
    if (!agreed) return;
    const done = [];
    await attempt(async () => { for (const id of ids) { await api.deleteRun(id); done.push(id); } }, "Not deleted");
    this.leave(done, "deleted", "Undo", async () => { for (const id of done) await api.restoreRun(id); });
  }

  async restore(ids) {
    const done = [];
    await attempt(async () => { for (const id of ids) { await api.restoreRun(id); done.push(id); } }, "Not restored");
    this.leave(done, "restored", null, null);
  }

  leave(ids, what, action, undo) {
    if (!ids.length) return;
    for (const id of ids) { this.store.runs.delete(id); this.selected.delete(id); }
    route.patch({ select: route.joined([...this.selected]) });
    this.arrange();
    toast(`${count(ids.length, "run")} ${what}`, { action, run: undo && (() => attempt(async () => { await undo(); this.loaded = null; this.update(route.current()); }, "Not restored")) });
  }

  key(event) {
    const keys = { "/": () => { this.search.input.focus(); this.search.input.select(); }, c: () => this.compare(), k: () => this.pickColumns(), e: () => this.toggleGroup(),
      Delete: () => { const chosen = [...this.selected]; if (chosen.length && this.view.value !== "deleted") this.remove(chosen); } };
    if (!keys[event.key]) return false;
    keys[event.key]();
    return true;
  }
}
