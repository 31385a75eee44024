// Compare: several runs over each other and side by side.

import { h, fill, button, say, set } from "../lib/dom.js";
import { count } from "../lib/format.js";
import * as api from "../lib/api.js";
import * as images from "../lib/images.js";
import * as route from "../lib/route.js";
import { look } from "../lib/palette.js";
import { Poller } from "../lib/poll.js";
import { Histories } from "../lib/history.js";
import { chartsOfMany, nameOf } from "../lib/metrics.js";
import { differing, differs, keysOf } from "../lib/runs.js";
import { ChartBoard } from "../parts/board.js";
import { swatch } from "../parts/chart.js";
import { fillState } from "../parts/columns.js";
import { failure, open, toast } from "../parts/dialog.js";
import { lightbox } from "../parts/gallery.js";
import { matrix } from "../parts/matrix.js";
import { Parallel } from "../parts/parallel.js";

const TABS = [["curves", "Curves"], ["settings", "Settings"], ["parallel", "Parallel"], ["pictures", "Pictures"]];
const MOST = 100;
const MOST_PICTURES = 24;

export class ComparePage {
  constructor(main) {
    this.main = main;
    document.title = "Compare · yolo11";
    this.histories = new Histories();
    this.runs = null;
    fill(main, h("p", { class: "loading" }, "Loading the runs…"));
  }

  destroy() {
    this.gone = true;
    this.poller?.stop();
    this.board?.destroy();
    this.parallel?.destroy();
  }

  update({ query }) {
    this.query = query;
    this.tab = TABS.some(([id]) => id === query.get("tab")) ? query.get("tab") : "curves";
    if (this.runs) { this.drawTab(); return; }
    this.ids = idsOf(query.get("runs")).slice(0, MOST);
    if (this.ids.length === 0) {
      fill(this.main, h("div", { class: "empty" }, h("h1", {}, "Nothing to compare"), h("p", {}, "Select two or more runs in the table, then Compare."), h("a", { class: "button-link", href: "#/" }, "To the runs")));
      return;
    }
    if (this.poller) return;
    this.poller = new Poller((signal) => this.poll(signal), () => (this.runs?.some((run) => run.status === "RUNNING") ? 3000 : 20000));
    this.poller.soon();
  }

  async poll(signal) {
    const first = !this.runs;
    const wanted = first ? this.ids : this.runs.filter((run) => run.status === "RUNNING").map((run) => run.id);
    let lost = 0;
    const found = await Promise.all(wanted.map((id) => api.run(id, { signal }).catch((error) => {
      if (error.status !== 404) { if (first && !this.gone && error.name !== "AbortError") failure(this.main, error, () => this.poller.soon()); throw error; }
      lost += 1;
      return null;
    })));
    if (this.gone) return false;
    if (first) {
      this.runs = found.filter(Boolean).map((run, index) => Object.assign(run, { look: look(index) }));
      if (lost) toast(`${count(lost, "run")} of this link ${lost === 1 ? "is" : "are"} not there any more`, { kind: "bad" });
      if (!this.runs.length) { failure(this.main, { status: 404, message: "None of the runs of this link is there any more." }); return false; }
      this.build();
      return true;
    }
    let moved = false;
    const keys = new Set();
    for (const run of found.filter(Boolean)) {
      const at = this.runs.findIndex((one) => one.id === run.id);
      const before = this.runs[at];
      if (!differs(before, run)) continue;
      moved = true;
      for (const key of Object.keys(run.metrics)) if (before.latest[key]?.step !== run.latest[key].step) keys.add(key);
      this.runs[at] = Object.assign(run, { look: before.look });
    }
    if (moved) this.draw(keys);
    return moved;
  }

  build() {
    this.title = h("h1", {});
    this.list = h("ul", { class: "compared", "aria-label": "Runs" });
    this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Ways to compare", onkeydown: (event) => this.tabKey(event) }, TABS.map(([id, text]) =>
      h("a", { role: "tab", id: `tab-${id}`, "aria-controls": "panel", href: "#", onclick: (event) => { event.preventDefault(); this.goTab(id); } }, text)));
    this.panel = h("div", { id: "panel", role: "tabpanel", tabindex: "-1" });
    fill(this.main, h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/" }, "Runs"), " / Compare"), h("header", { class: "page-head" }, this.title,
      h("a", { class: "button-link", href: route.href([], { select: route.joined(this.ids.slice(0, 40)) }) }, "Change the selection")), this.list, this.tabs, this.panel);
    this.draw(new Set());
    this.drawTab();
  }

  draw(moved) {
    say(this.title, `Compare ${count(this.runs.length, "run")}`);
    fill(this.list, this.runs.map((run) => {
      const state = h("span", {});
      fillState(state, { ...run, params: {} });
      return h("li", { onpointerenter: () => this.emphasise(run.id), onpointerleave: () => this.emphasise(null) }, swatch(run.look),
        h("a", { href: route.runLink(run), title: run.name, onfocus: () => this.emphasise(run.id), onblur: () => this.emphasise(null) }, run.name), state,
        button(`Take ${run.name} out`, () => this.takeOut(run.id), { glyph: "close", kind: "quiet small", iconOnly: true }));
    }));
    if (this.board && moved.size) { this.board.show(chartsOfMany(keysOf(this.runs).metrics), this.runs); this.board.moved(moved); }
    if (moved.size && (this.tab === "settings" || this.tab === "parallel")) this.drawTab();
  }

  emphasise(id) {
    for (const { chart } of this.board?.charts.values() ?? []) if (chart.given) chart.emphasise(id);
    this.parallel?.focus(id);
  }

  takeOut(id) {
    const left = this.runs.filter((run) => run.id !== id).map((run) => run.id);
    const { path, query } = route.current();
    query.set("runs", route.joined(left));
    route.go(route.href(path, query));
  }

  goTab(id) {
    route.patch({ tab: id === "curves" ? null : id }, { push: true });
    this.update(route.current());
  }

  tabKey(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const [next] = TABS[(TABS.findIndex(([id]) => id === this.tab) + by + TABS.length) % TABS.length];
    this.goTab(next);
    document.getElementById(`tab-${next}`).focus();
    event.preventDefault();
  }

  drawTab() {
    for (const [id] of TABS) set(document.getElementById(`tab-${id}`), { "aria-selected": String(id === this.tab), tabindex: id === this.tab ? "0" : "-1" });
    this.panel.setAttribute("aria-labelledby", `tab-${this.tab}`);
    const shown = this[`show_${this.tab}`]();
    if (this.panel.firstElementChild !== shown) fill(this.panel, shown);
  }

  change(changes) {
    route.patch(changes);
    this.query = route.current().query;
  }

  show_curves() {
    if (!this.board) {
      this.board = new ChartBoard({ histories: this.histories, runs: this.runs, onerror: (error) => { if (!error.isGone) toast(error.message, { kind: "bad" }); } });
      this.board.show(chartsOfMany(keysOf(this.runs).metrics));
    }
    this.board.read(this.query);
    return this.board.element;
  }

  show_settings() {
    const all = this.query.get("all") === "1";
    this.matrixPlace ??= h("div", {});
    const draw = () => fill(this.matrixPlace, matrix(this.runs, { all: this.query.get("all") === "1", find: this.query.get("find") ?? "" }));
    this.matrixControls ??= h("div", { class: "chart-controls" }, h("label", {}, this.allBox = h("input", { type: "checkbox", onchange: (event) => { this.change({ all: event.target.checked ? "1" : null }); draw(); } }), "All settings"),
      this.matrixFind = h("input", { type: "search", placeholder: "Find", "aria-label": "Find in the table", oninput: (event) => { this.change({ find: event.target.value }); draw(); } }));
    this.allBox.checked = all;
    if (document.activeElement !== this.matrixFind) this.matrixFind.value = this.query.get("find") ?? "";
    draw();
    return (this.matrixElement ??= h("div", {}, this.matrixControls, this.matrixPlace));
  }

  get axes() {
    const told = route.list(this.query.get("axes"));
    const { metrics } = keysOf(this.runs);
    const ids = told.length ? told : [...differing(this.runs).filter((key) => !/^mlflow\.|^name$/.test(key)).slice(0, 6).map((key) => `params.${key}`),
      ...["metrics/mAP50-95B", "metrics/mAP50B", "val/box_loss"].filter((key) => metrics.includes(key)).map((key) => `metrics.${key}`)];
    const chosen = ids.length ? ids : metrics.filter((key) => !/^(system|step)\//.test(key)).slice(0, 4).map((key) => `metrics.${key}`);
    return chosen.map((id) => {
      const cut = id.indexOf(".");
      const [kind, key] = [id.slice(0, cut), id.slice(cut + 1)];
      return { id, name: nameOf(key), value: (run) => run[kind]?.[key] };
    });
  }

  show_parallel() {
    if (!this.parallel) {
      this.parallel = new Parallel({ onbrush: (brushes) => this.change({ brush: Object.entries(brushes).map(([id, [low, high]]) => `${encodeURIComponent(id)}~${low.toFixed(3)}~${high.toFixed(3)}`).join(";") }) });
      this.parallelElement = h("div", {}, h("div", { class: "chart-controls" }, button("Axes", () => this.pickAxes(), { glyph: "columns" }), button("Free all axes", () => { this.change({ brush: null }); this.drawTab(); }, { kind: "quiet" })), this.parallel.element);
    }
    const brushes = {};
    for (const part of (this.query.get("brush") ?? "").split(";").filter(Boolean)) {
      const [id, low, high] = part.split("~");
      if (Number(high) >= Number(low)) brushes[decodeURIComponent(id)] = [Number(low), Number(high)];
    }
    this.parallel.show(this.runs, this.axes, brushes);
    return this.parallelElement;
  }

  pickAxes() {
    const { params, metrics } = keysOf(this.runs);
    const different = new Set(differing(this.runs));
    const all = [["Metrics", metrics.filter((key) => !/^(system|step)\//.test(key)).map((key) => `metrics.${key}`)], ["Settings that differ", params.filter((key) => different.has(key)).map((key) => `params.${key}`)],
      ["Other settings", params.filter((key) => !different.has(key)).map((key) => `params.${key}`)]];
    open({ title: "Axes", body: all.filter(([, ids]) => ids.length).map(([title, ids]) => h("fieldset", {}, h("legend", {}, title), ids.map((id) => h("label", { class: "check-row" },
      h("input", { type: "checkbox", checked: this.axes.some((axis) => axis.id === id), onchange: (event) => {
        const now = this.axes.map((axis) => axis.id);
        this.change({ axes: route.joined(event.target.checked ? [...now, id] : now.filter((one) => one !== id)) });
        this.drawTab();
      } }), h("span", {}, id.slice(id.indexOf(".") + 1)))))), actions: [{ text: "Done", kind: "primary" }] });
  }

  show_pictures() {
    if (!this.pictureElement) {
      this.pictureName = h("select", { "aria-label": "Picture", onchange: (event) => { this.change({ picture: event.target.value }); this.drawPictures(); } });
      this.pictureSlider = h("input", { type: "range", min: "0", step: "1", "aria-label": "Step", oninput: (event) => { this.change({ step: String(this.pictureSteps[Number(event.target.value)]) }); this.drawPictures(); } });
      this.pictureStep = h("output", {});
      this.pictureGrid = h("div", { class: "pictures" });
      this.pictureSlide = h("label", {}, "Step", this.pictureSlider, this.pictureStep);
      this.pictureElement = h("div", { class: "side" }, h("div", { class: "chart-controls" }, h("label", {}, "Picture", this.pictureName), this.pictureSlide), this.pictureGrid);
      this.loadPictures();
    } else this.drawPictures();
    return this.pictureElement;
  }

  async loadPictures() {
    const runs = this.runs.slice(0, MOST_PICTURES);
    fill(this.pictureGrid, h("p", { class: "loading" }, "Loading the pictures…"));
    try {
      this.pictures = await Promise.all(runs.map(async (run) => ({ run, ...(await images.load(run.id)) })));
    } catch (error) {
      failure(this.pictureGrid, error, () => this.loadPictures());
      return;
    }
    if (this.gone) return;
    const names = (list) => [...new Set(list)];
    const series = names(this.pictures.flatMap((one) => one.series.map(({ key }) => key))).sort();
    const files = names(this.pictures.flatMap((one) => one.pictures.map(({ path }) => path)));
    const option = (value, text) => h("option", { value }, text);
    fill(this.pictureName, series.length ? h("optgroup", { label: "As the training went" }, series.map((key) => option(`series:${key}`, key))) : null, files.length ? h("optgroup", { label: "Results" }, files.map((path) => option(`file:${path}`, path))) : null);
    this.standardPicture = [`series:val_batch0_pred`, ...series.map((key) => `series:${key}`), ...files.map((path) => `file:${path}`)].find((value) => [...this.pictureName.options].some((one) => one.value === value));
    this.drawPictures();
  }

  drawPictures() {
    if (!this.pictures) return;
    const chosen = [...this.pictureName.options].some((one) => one.value === this.query.get("picture")) ? this.query.get("picture") : this.standardPicture;
    if (!chosen) { fill(this.pictureGrid, h("div", { class: "empty" }, h("h2", {}, "No pictures"), h("p", {}, "None of these runs has logged any."))); return; }
    this.pictureName.value = chosen;
    const [kind, name] = [chosen.slice(0, chosen.indexOf(":")), chosen.slice(chosen.indexOf(":") + 1)];
    const steps = kind === "file" ? [] : [...new Set(this.pictures.flatMap((one) => one.series.find(({ key }) => key === name)?.steps.map(({ step }) => step) ?? []))].sort((a, b) => a - b);
    this.pictureSteps = steps;
    this.pictureSlide.hidden = steps.length < 2;
    const wanted = this.query.has("step") ? Number(this.query.get("step")) : steps[steps.length - 1];
    const step = steps[Math.max(0, steps.findLastIndex((one) => one <= wanted))];
    this.pictureSlider.max = String(Math.max(0, steps.length - 1));
    this.pictureSlider.value = String(Math.max(0, steps.indexOf(step)));
    say(this.pictureStep, steps.length ? String(step) : "");
    const shown = this.pictures.map(({ run, series, pictures }) => {
      if (kind === "file") { const file = pictures.find(({ path }) => path === name); return { run, url: file && api.artifactUrl(run.id, file.path), full: file && api.artifactUrl(run.id, file.path), note: "" }; }
      const found = series.find(({ key }) => key === name);
      const picture = found && images.at(found, step);
      return { run, url: picture && api.artifactUrl(run.id, picture.small ?? picture.full), full: picture && api.artifactUrl(run.id, picture.full ?? picture.small), note: picture ? `step ${picture.step}` : "" };
    });
    const large = shown.filter((one) => one.url).map(({ run, full, note }) => ({ url: full, title: `${run.name}: ${name}${note ? `, ${note}` : ""}` }));
    fill(this.pictureGrid, shown.map(({ run, url, full, note }) => h("figure", {}, url
      ? h("button", { type: "button", class: "picture", onclick: () => lightbox(large, large.findIndex((one) => one.url === full)) }, h("img", { src: url, alt: `${name} of ${run.name}`, loading: "lazy", decoding: "async" }))
      : h("div", { class: "picture missing" }, "not logged"), h("figcaption", {}, h("span", {}, swatch(run.look), " ", run.name), h("span", { class: "muted" }, note)))));
  }

  key(event) {
    const at = Number(event.key) - 1;
    if (this.runs && TABS[at]) { this.goTab(TABS[at][0]); return true; }
    return this.tab === "curves" ? this.board?.key(event) ?? false : false;
  }
}

/** The runs of a link: ours separated by commas, MLflow's as a JSON list. */
function idsOf(text) {
  if (text?.startsWith("[")) {
    try {
      return JSON.parse(text).filter((id) => typeof id === "string");
    } catch {
      return [];
    }
  }
  return route.list(text);
}
