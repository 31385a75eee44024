// Run: one training, while it goes on and after.

import { h, fill, button, say, set } from "../lib/dom.js";
import { about, clock, duration, figure, fullTime, when } from "../lib/format.js";
import * as api from "../lib/api.js";
import * as route from "../lib/route.js";
import { Poller } from "../lib/poll.js";
import { Histories } from "../lib/history.js";
import { chartsOf, nameOf, systemCharts } from "../lib/metrics.js";
import { progressOf } from "../lib/progress.js";
import { differs } from "../lib/runs.js";
import { look } from "../lib/palette.js";
import { ChartBoard } from "../parts/board.js";
import { fillState } from "../parts/columns.js";
import { ask, askText, attempt, failure, toast } from "../parts/dialog.js";
import { Files } from "../parts/files.js";
import { Gallery } from "../parts/gallery.js";
import { Log } from "../parts/log.js";
import { Notes } from "../parts/notes.js";
import { register } from "../parts/register.js";
import { fact, settings } from "../parts/settings.js";

const TABS = [["charts", "Charts"], ["pictures", "Pictures"], ["system", "System"], ["settings", "Settings"], ["files", "Artifacts"], ["log", "Log"]];
const TILES = ["metrics/mAP50-95B", "metrics/mAP50B", "metrics/precisionB", "metrics/recallB"];

export class RunPage {
  constructor(main, id) {
    Object.assign(this, { main, id });
    document.title = "Run · yolo11";
    this.histories = new Histories();
    fill(main, h("p", { class: "loading" }, "Loading the run…"));
    this.poller = new Poller((signal) => this.poll(signal), () => (this.run && this.run.status !== "RUNNING" ? 15000 : 2000));
    this.poller.soon();
    this.ticker = setInterval(() => { if (!document.hidden && this.run?.status === "RUNNING") this.drawProgress(); }, 1000);
  }

  destroy() {
    this.gone = true;
    clearInterval(this.ticker);
    this.poller.stop();
    for (const board of [this.board, this.system]) board?.destroy();
  }

  update({ query }) {
    this.query = query;
    this.tab = TABS.some(([id]) => id === query.get("tab")) ? query.get("tab") : "charts";
    if (this.run) this.drawTab();
  }

  async poll(signal) {
    let run;
    try {
      run = await api.run(this.id, { signal });
    } catch (error) {
      if (!this.run && !this.gone && error.name !== "AbortError") failure(this.main, error, () => this.poller.soon());
      throw error;
    }
    if (this.gone) return false;
    const before = this.run;
    this.run = run;
    if (!before) {
      const names = await api.experiments({ signal }).catch(() => []);
      this.experiment = names.find((one) => String(one.experiment_id) === run.experiment)?.name ?? run.experiment;
      if (this.gone) return false;
      this.build();
      this.findVersions();
      return true;
    }
    const moved = differs(before, run);
    if (moved) this.draw(before);
    const live = run.status === "RUNNING" || before.status === "RUNNING";
    if (live) await this.follow(signal);
    return moved;
  }

  /** What the open tab shows may have grown without the run having changed. */
  async follow(signal) {
    this.rounds = (this.rounds ?? 0) + 1;
    if (this.tab === "log") await this.log?.load(signal);
    else if (this.tab === "pictures" && this.rounds % 3 === 0) await this.gallery?.load(signal);
    else if (this.tab === "files" && this.rounds % 5 === 0) await this.files?.load();
  }

  get me() {
    return [{ id: this.id, name: this.run.name, start: this.run.start, look: look(0) }];
  }

  build() {
    this.title = h("h1", {});
    this.state = h("span", { class: "head-state" });
    this.progress = h("div", { class: "run-progress", hidden: true });
    this.problem = h("p", { class: "problem", hidden: true });
    this.actions = h("div", { class: "row" });
    this.tiles = h("dl", { class: "tiles" });
    this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Parts of the run", onkeydown: (event) => this.tabKey(event) }, TABS.map(([id, text]) =>
      h("a", { role: "tab", id: `tab-${id}`, "aria-controls": "panel", href: this.tabLink(id), onclick: (event) => { if (!event.metaKey && !event.ctrlKey) { event.preventDefault(); this.goTab(id); } } }, text)));
    this.panel = h("div", { id: "panel", role: "tabpanel", tabindex: "-1" });
    this.notes = new Notes({ save: async (text) => { await api.setTag(this.id, "mlflow.note.content", text); this.run.tags["mlflow.note.content"] = text; } });
    this.facts = h("dl", { class: "facts" });
    this.about = h("details", { class: "about" }, h("summary", {}, "About this run"), this.notes.element, this.facts);
    const wide = matchMedia("(min-width: 1100px)");
    const spread = () => { this.about.open = wide.matches; };
    wide.addEventListener("change", spread);
    spread();
    fill(this.main, h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/" }, "Runs"), " / ", h("a", { href: route.href(["experiments", this.run.experiment]) }, this.experiment)),
      h("header", { class: "page-head" }, h("div", { class: "row head-title" }, this.title, button("Rename", () => this.rename(), { glyph: "edit", kind: "quiet small", iconOnly: true }), this.state), this.actions),
      this.problem, this.progress, this.tiles, h("div", { class: "with-aside" }, this.about, h("div", { class: "run-main" }, this.tabs, this.panel)));
    this.draw(null);
    this.drawTab();
  }

  draw(before) {
    const { run } = this;
    document.title = `${run.name} · yolo11`;
    say(this.title, run.name);
    fillState(this.state, { ...run, status: run.status === "RUNNING" ? "RUNNING" : run.status, params: {} });
    this.problem.hidden = !run.tags.error;
    say(this.problem, run.tags.error ?? "");
    fill(this.actions, h("a", { class: "button-link", href: route.href([], { select: this.id }) }, "Compare with…"),
      run.deleted ? null : button("Register…", () => this.register(), { title: "Make a version of a model from this run's weights" }),
      run.deleted ? button("Restore", () => this.restore(), { glyph: "reset", kind: "primary" }) : button("Delete", () => this.remove(), { glyph: "trash" }));
    this.notes.show(run.tags["mlflow.note.content"] ?? "");
    this.drawFacts();
    this.drawTiles();
    this.drawProgress();
    const keys = Object.keys(run.metrics);
    const moved = new Set(keys.filter((key) => !before || before.latest[key]?.step !== run.latest[key].step || before.latest[key]?.time !== run.latest[key].time));
    if (this.board) { this.board.show(chartsOf(keys)); if (before) this.board.moved(moved); }
    if (this.system) { this.system.show(systemCharts(keys)); if (before) this.system.moved(moved); }
    if (before && this.tab === "settings" && this.settingsKey !== this.settingsState()) this.drawTab();
    if (before && before.status === "RUNNING" && run.status !== "RUNNING") toast(`${run.name}: ${this.state.textContent.toLowerCase()}`);
  }

  settingsState() {
    return JSON.stringify([this.run.params, this.run.tags, this.run.inputs]);
  }

  drawProgress() {
    const progress = progressOf(this.run);
    this.progress.hidden = this.run.status !== "RUNNING";
    if (this.run.status !== "RUNNING") return;
    if (!this.bar) fill(this.progress, this.bar = h("progress", { max: "1", "aria-label": "Progress of the training" }), this.told = h("span", {}), this.quiet = h("span", { class: "warn" }));
    if (!progress) { say(this.told, `Running for ${duration(Date.now() - this.run.start)}`); this.bar.hidden = true; return; }
    this.bar.value = progress.share;
    const parts = [`Epoch ${Math.min(progress.done + 1, progress.epochs)} of ${progress.epochs}`, `${Math.floor(progress.share * 100)} %`];
    if (progress.left !== null) parts.push(`${about(progress.left)} left${progress.left > 60000 ? `, until ${clock(Date.now() + progress.left)}` : ""}`);
    else parts.push("time left is known after the first epoch");
    say(this.told, parts.join(" · "));
    say(this.quiet, progress.quiet ? `No news for ${duration(Date.now() - progress.heard)}: is the training still there?` : "");
  }

  drawTiles() {
    const { metrics } = this.run;
    const known = TILES.filter((key) => key in metrics);
    const keys = known.length ? known : Object.keys(metrics).filter((key) => !/^(system|step)\//.test(key)).slice(0, 4);
    this.tiles.hidden = keys.length === 0;
    if (this.tileKeys !== keys.join()) {
      this.tileKeys = keys.join();
      this.tileParts = new Map();
      fill(this.tiles, keys.map((key) => {
        const parts = { value: h("dd", { class: "tile-value" }), best: h("dd", { class: "muted" }) };
        this.tileParts.set(key, parts);
        return h("div", {}, h("dt", {}, nameOf(key)), parts.value, parts.best);
      }));
    }
    for (const [key, { value, best }] of this.tileParts) {
      say(value, figure(metrics[key]));
      const curve = this.histories.curve(this.id, key);
      if (!curve || curve.steps.length < 2) continue;
      const low = /loss/.test(key);
      let at = 0;
      curve.values.forEach((one, index) => { if (low ? one < curve.values[at] : one > curve.values[at]) at = index; });
      say(best, `${low ? "lowest" : "best"} ${figure(curve.values[at])} at step ${curve.steps[at]}`);
    }
  }

  drawFacts() {
    const { run } = this;
    const tag = (name) => run.tags[name];
    const commit = tag("mlflow.source.git.commit");
    fill(this.facts, fact("Started", h("time", { datetime: new Date(run.start).toISOString(), title: fullTime(run.start) }, when(run.start))),
      fact(run.status === "RUNNING" ? "Running for" : "Took", duration((run.end ?? Date.now()) - run.start)), run.user ? fact("User", run.user) : null,
      tag("yolo11.model") ? fact("Network", tag("yolo11.model")) : null, tag("yolo11.optimiser") ? fact("Optimiser", tag("yolo11.optimiser")) : null,
      tag("yolo11.best_epoch") ? fact("Best epoch", tag("yolo11.best_epoch")) : null,
      run.inputs.length ? fact("Data", run.inputs.slice(0, 3).map(({ dataset }, at) => [at ? ", " : "", `${dataset.name} `, h("code", { title: dataset.digest }, dataset.digest.slice(0, 8))])) : null,
      commit ? fact("Commit", [h("code", { title: commit }, commit.slice(0, 10)), tag("mlflow.source.git.branch") ? ` on ${tag("mlflow.source.git.branch")}` : ""]) : null,
      tag("mlflow.source.name") ? fact("Program", tag("mlflow.source.name")) : null,
      tag("mlflow.parentRunId") ? fact("Part of", h("a", { href: route.href(["runs", tag("mlflow.parentRunId")]) }, tag("mlflow.parentRunId").slice(0, 8))) : null,
      this.versions?.length ? fact("Models", this.versions.map((version, at) => [at ? ", " : "", h("a", { href: route.modelLink(version.name, version.version) }, `${version.name} ${version.version}`)])) : null,
      fact("Id", h("code", {}, run.id)));
  }

  async findVersions() {
    this.versions = await api.modelVersions(`run_id = '${this.id}'`).catch(() => []);
    if (!this.gone && this.versions.length) this.drawFacts();
  }

  // Tabs.

  tabLink(id) {
    const query = new URLSearchParams(this.query);
    if (id === "charts") query.delete("tab");
    else query.set("tab", id);
    return route.href(route.current().path, query);
  }

  goTab(id) {
    route.patch({ tab: id === "charts" ? null : id }, { push: true });
    this.update(route.current());
  }

  tabKey(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = TABS.findIndex(([id]) => id === this.tab);
    const [next] = TABS[(at + by + TABS.length) % TABS.length];
    this.goTab(next);
    document.getElementById(`tab-${next}`).focus();
    event.preventDefault();
  }

  drawTab() {
    for (const [id] of TABS) {
      const tab = document.getElementById(`tab-${id}`);
      set(tab, { "aria-selected": String(id === this.tab), tabindex: id === this.tab ? "0" : "-1", href: this.tabLink(id) });
    }
    // On a phone the tabs are wider than the window.
    this.tabs.scrollLeft = document.getElementById(`tab-${this.tab}`).offsetLeft - this.tabs.offsetLeft - 60;
    this.panel.setAttribute("aria-labelledby", `tab-${this.tab}`);
    this.main.dataset.tab = this.tab;
    const shown = this[`show_${this.tab}`]();
    if (this.panel.firstElementChild !== shown || this.panel.childElementCount !== 1) fill(this.panel, shown);
  }

  makeBoard(charts) {
    const board = new ChartBoard({ histories: this.histories, runs: this.me, onerror: (error) => { if (!error.isGone) toast(error.message, { kind: "bad" }); } });
    board.onload = () => this.drawTiles();
    board.show(charts(Object.keys(this.run.metrics)));
    return board;
  }

  nothing(text) {
    return h("div", { class: "empty" }, h("h2", {}, "Nothing logged yet"), h("p", {}, text));
  }

  show_charts() {
    this.board ??= this.makeBoard(chartsOf);
    this.board.read(this.query);
    return this.board.place.childElementCount ? this.board.element : this.nothing("Losses appear with the first batch, mAP with the first epoch.");
  }

  show_system() {
    this.system ??= this.makeBoard(systemCharts);
    this.system.read(this.query);
    return this.system.place.childElementCount ? this.system.element : this.nothing("The machine is looked at every 10 s; mlflow.system_metrics=off turns that off.");
  }

  show_pictures() {
    if (!this.gallery) {
      this.gallery = new Gallery(this.id);
      this.loadInto(this.gallery, this.gallery.place);
    }
    this.gallery.read(this.query);
    return this.gallery.element;
  }

  show_settings() {
    this.settingsKey = this.settingsState();
    return settings(this.run, () => this.poller.soon());
  }

  show_files() {
    if (!this.files) {
      this.files = new Files({ list: (path) => api.artifacts(this.id, path), url: (path) => api.artifactUrl(this.id, path), onselect: (path) => route.patch({ file: path }), selected: this.query.get("file") });
      this.loadInto(this.files, this.files.element);
    }
    return this.files.element;
  }

  show_log() {
    if (!this.log) {
      this.log = new Log(this.id);
      this.loadInto(this.log, this.log.place);
    }
    return this.log.element;
  }

  async loadInto(part, place) {
    try {
      await part.load();
    } catch (error) {
      if (!this.gone && error.name !== "AbortError") failure(place, error, () => this.loadInto(part, place));
    }
  }

  // What a person does.

  async rename() {
    const name = await askText({ title: "Rename the run", name: "Name", value: this.run.name });
    if (name && name !== this.run.name && await attempt(() => api.renameRun(this.id, name), "Not renamed")) this.poller.soon();
  }

  async remove() {
    const agreed = await ask({ title: `Delete ${this.run.name}?`, agree: "Delete", text: "It can be restored until deleted runs are collected with yolo11 tracking gc." });
    if (agreed && await attempt(() => api.deleteRun(this.id), "Not deleted")) {
      toast(`${this.run.name} deleted`, { action: "Undo", run: () => this.restore() });
      this.poller.soon();
    }
  }

  register() {
    return register(this.run, (version) => {
      toast(`Version ${version.version} of ${version.name} registered`, { action: "Open", run: () => route.go(route.modelLink(version.name, version.version)) });
      this.findVersions();
    });
  }

  async restore() {
    if (await attempt(() => api.restoreRun(this.id), "Not restored")) { toast(`${this.run?.name ?? "Run"} restored`); this.poller.soon(); }
  }

  key(event) {
    const at = Number(event.key) - 1;
    if (this.run && TABS[at]) { this.goTab(TABS[at][0]); return true; }
    if (event.key === "n" && this.run) { this.about.open = true; this.notes.edit(); return true; }
    const board = { charts: this.board, system: this.system }[this.tab];
    return board?.key(event) ?? false;
  }
}
