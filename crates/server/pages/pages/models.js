// Models: what was registered, its versions, where they come from, which one is the champion.

import { h, fill, button, icon } from "../lib/dom.js";
import { bytes, count, figure, fullTime, when } from "../lib/format.js";
import * as api from "../lib/api.js";
import * as route from "../lib/route.js";
import { Poller } from "../lib/poll.js";
import { nameOf } from "../lib/metrics.js";
import { command, firstModel } from "../parts/empty.js";
import { ask, askText, attempt, failure, open, toast } from "../parts/dialog.js";
import { Files } from "../parts/files.js";
import { Notes } from "../parts/notes.js";
import { fact } from "../parts/settings.js";

const CHAMPION = "champion";
const SHOWN = ["metrics/mAP50-95B", "metrics/mAP50B", "metrics/precisionB", "metrics/recallB"];

export class ModelsPage {
  constructor(main) {
    document.title = "Models · yolo11";
    this.main = main;
    this.find = h("input", { type: "search", placeholder: "Search models", "aria-label": "Search models", oninput: () => { route.patch({ q: this.find.value }); this.draw(); } });
    this.place = h("div", {}, h("p", { class: "loading" }, "Loading the models…"));
    fill(main, h("header", { class: "page-head" }, h("h1", {}, "Models"), this.find), this.place);
    this.poller = new Poller(() => this.load(), () => 10000);
    this.poller.soon();
  }

  destroy() {
    this.gone = true;
    this.poller.stop();
  }

  update({ query }) {
    this.find.value = query.get("q") ?? "";
    if (this.models) this.draw();
  }

  async load() {
    try {
      const models = await api.registeredModels();
      if (this.gone) return false;
      const key = JSON.stringify(models);
      if (key === this.held) return false;
      this.held = key;
      this.models = models;
      this.draw();
      return true;
    } catch (error) {
      if (!this.models && !this.gone) failure(this.place, error, () => this.poller.soon());
      throw error;
    }
  }

  draw() {
    if (!this.models) return;
    const words = this.find.value.toLowerCase();
    const found = this.models.filter((model) => `${model.name}\n${model.description ?? ""}\n${(model.tags ?? []).map((tag) => `${tag.key}=${tag.value}`).join("\n")}`.toLowerCase().includes(words));
    if (!this.models.length) { fill(this.place, firstModel()); return; }
    if (!found.length) { fill(this.place, h("div", { class: "empty" }, h("h2", {}, "No model fits"), h("p", {}, "Nothing here has these words in its name, description or tags."))); return; }
    fill(this.place, h("div", { class: "model-list" }, h("table", {}, h("thead", {}, h("tr", {}, ["Model", "Latest version", "Aliases", "Description", "Changed"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, found.map((model) => {
        const latest = Math.max(0, ...(model.latest_versions ?? []).map((version) => Number(version.version)));
        return h("tr", {}, h("th", { scope: "row" }, h("a", { href: route.modelLink(model.name) }, model.name)), h("td", { "data-label": "Latest" }, latest || "–"),
          h("td", { "data-label": "Aliases" }, aliasChips(model.name, model.aliases ?? [])), h("td", { class: "muted" }, (model.description ?? "").split("\n")[0].replace(/^#+ |\*\*|`/g, "")), h("td", { "data-label": "Changed", title: fullTime(Number(model.last_updated_timestamp)) }, when(Number(model.last_updated_timestamp))));
      })))));
  }

  key(event) {
    if (event.key !== "/") return false;
    this.find.focus();
    return true;
  }
}

function aliasChips(name, aliases) {
  return h("span", { class: "aliases" }, aliases.map(({ alias, version }) => h("a", { class: "chip alias", href: route.modelLink(name, version) }, `${alias} → ${version}`)));
}

export class ModelPage {
  constructor(main, name) {
    Object.assign(this, { main, name });
    this.runs = new Map();
    document.title = `${name} · yolo11`;
    fill(main, h("p", { class: "loading" }, "Loading the model…"));
    this.poller = new Poller(() => this.load(), () => 10000);
    this.poller.soon();
  }

  destroy() {
    this.gone = true;
    this.poller.stop();
  }

  update({ path }) {
    this.shown = path[2] === "versions" ? path[3] ?? null : null;
    if (this.model) this.draw();
  }

  async load() {
    try {
      const [model, versions] = await Promise.all([api.registeredModel(this.name), api.modelVersions(`name = ${api.quoted(this.name)}`)]);
      if (this.gone) return false;
      const key = JSON.stringify([model, versions]);
      if (key === this.held) return false;
      this.held = key;
      Object.assign(this, { model, versions });
      const missing = versions.map((version) => version.run_id).filter((id) => id && !this.runs.has(id));
      await Promise.all([...new Set(missing)].slice(0, 200).map(async (id) => this.runs.set(id, await api.run(id).catch(() => null))));
      if (!this.gone) this.draw();
      return true;
    } catch (error) {
      if (!this.model && !this.gone) failure(this.main, error, () => this.poller.soon());
      throw error;
    }
  }

  aliasesOf(version) {
    return (this.model.aliases ?? []).filter((one) => String(one.version) === String(version)).map((one) => one.alias);
  }

  /** A figure of a version: what was written on it, else the latest of its run. */
  metricOf(version, key) {
    const tag = (version.tags ?? []).find((one) => one.key === key);
    const value = tag ? Number(tag.value) : this.runs.get(version.run_id)?.metrics[key];
    return Number.isFinite(value) ? value : undefined;
  }

  draw() {
    const { model, versions } = this;
    if (!this.notes) {
      this.notes = new Notes({ title: "Description", empty: "What does this model find, and how good must it be?", save: async (text) => { await api.describeModel(this.name, text); this.model.description = text; } });
      this.list = h("div", { class: "model-list" });
      this.detail = h("div", {});
      fill(this.main, h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/models" }, "Models")), h("header", { class: "page-head" }, h("h1", {}, this.name)), this.notes.element, this.list, this.detail);
    }
    this.notes.show(model.description ?? "");
    const keys = SHOWN.filter((key) => versions.some((version) => this.metricOf(version, key) !== undefined));
    if (!versions.length) { fill(this.list, h("p", { class: "empty" }, "No versions yet.")); return; }
    const best = Object.fromEntries(keys.map((key) => [key, Math.max(...versions.map((version) => this.metricOf(version, key) ?? -Infinity))]));
    fill(this.list, h("table", {}, h("thead", {}, h("tr", {}, ["Version", "Aliases", "Run", "Data"].map((text) => h("th", { scope: "col" }, text)), keys.map((key) => h("th", { scope: "col", class: "number" }, nameOf(key))), h("th", { scope: "col" }, "Made"), h("th", { scope: "col" }, h("span", { class: "unseen" }, "Do")))),
      h("tbody", {}, versions.map((version) => this.row(version, keys, best)))));
    this.drawDetail();
  }

  row(version, keys, best) {
    const run = this.runs.get(version.run_id);
    const aliases = this.aliasesOf(version.version);
    const dataset = run?.inputs[0]?.dataset;
    return h("tr", { "aria-current": String(version.version) === this.shown ? "true" : null }, h("th", { scope: "row" }, h("a", { href: route.modelLink(this.name, version.version) }, `Version ${version.version}`), version.status && version.status !== "READY" ? h("span", { class: "chip" }, version.status.toLowerCase().replaceAll("_", " ")) : null),
      h("td", { "data-label": "Aliases" }, h("span", { class: "aliases" }, aliases.map((alias) => h("span", { class: "chip alias" }, alias)))),
      h("td", { "data-label": "Run" }, run ? h("a", { href: route.runLink(run) }, run.name) : version.run_id ? h("span", { class: "muted" }, "deleted") : "–"),
      h("td", { "data-label": "Data" }, dataset ? [`${dataset.name} `, h("code", { title: dataset.digest }, dataset.digest.slice(0, 8))] : "–"),
      keys.map((key) => { const value = this.metricOf(version, key); return h("td", { class: "number", "data-label": nameOf(key) }, value === best[key] ? h("strong", {}, figure(value)) : figure(value)); }),
      h("td", { "data-label": "Made", title: fullTime(Number(version.creation_timestamp)) }, when(Number(version.creation_timestamp))),
      h("td", {}, h("span", { class: "row" }, aliases.includes(CHAMPION) ? null : button("Promote", () => this.promote(version), { kind: "small", title: `Make version ${version.version} the ${CHAMPION}`, "aria-label": `Promote version ${version.version}` }),
        button("Aliases", () => this.editAliases(version), { kind: "small", "aria-label": `Aliases of version ${version.version}` }),
        button("Download", () => this.download(version), { glyph: "download", kind: "small", "aria-label": `Download version ${version.version}` }))));
  }

  async promote(version) {
    const now = (this.model.aliases ?? []).find((one) => one.alias === CHAMPION);
    const agreed = await ask({ title: `Promote version ${version.version}?`, kind: "primary", agree: "Promote",
      text: now ? `The alias ${CHAMPION} moves from version ${now.version} to version ${version.version}. Whoever loads models:/${this.name}@${CHAMPION} gets it from now on.` : `Version ${version.version} becomes models:/${this.name}@${CHAMPION}.` });
    if (!agreed || !(await attempt(() => api.setAlias(this.name, CHAMPION, version.version), "Not promoted"))) return;
    toast(`Version ${version.version} is the ${CHAMPION}`, now ? { action: "Undo", run: () => attempt(async () => { await api.setAlias(this.name, CHAMPION, now.version); this.poller.soon(); }, "Not undone") } : {});
    this.poller.soon();
  }

  editAliases(version) {
    const list = h("ul", { class: "stack" });
    const draw = () => fill(list, this.aliasesOf(version.version).map((alias) => h("li", { class: "row" }, h("span", { class: "chip alias" }, alias), button(`Remove ${alias}`, async () => {
      if (await attempt(() => api.deleteAlias(this.name, alias), "Not removed")) { await this.load(); draw(); }
    }, { glyph: "close", kind: "quiet small", iconOnly: true }))), this.aliasesOf(version.version).length ? null : h("li", { class: "muted" }, "None yet."));
    draw();
    open({ title: `Aliases of version ${version.version}`, body: [list, h("p", { class: "muted small-print" }, "An alias names one version of the model; given to another version, it moves.")], actions: [{ text: "Add an alias", run: async () => {
      const alias = await askText({ title: "Add an alias", name: "Alias", agree: "Add" });
      if (alias && await attempt(() => api.setAlias(this.name, alias, version.version), "Not added")) { await this.load(); draw(); }
      return false;
    } }, { text: "Done", kind: "primary" }] });
  }

  /** Where a version's files are: of its logged model, else of the folder it was registered from. */
  filesOf(version) {
    const logged = /^models:\/(m-[\w-]+)$/.exec(version.source ?? "")?.[1] ?? version.model_id;
    if (logged) return { list: (path) => api.modelArtifacts(logged, path), url: (path) => api.modelArtifactUrl(logged, path) };
    const match = version.run_id && new RegExp(`(?:${version.run_id}/artifacts|runs:/${version.run_id})/?(.*)$`).exec(version.source ?? "");
    if (match) return { list: (path) => api.artifacts(version.run_id, path || match[1]), url: (path) => api.artifactUrl(version.run_id, path) };
    return null;
  }

  async download(version) {
    const files = this.filesOf(version);
    if (!files) { toast(`The files of version ${version.version} are at ${version.source}`, { kind: "bad" }); return; }
    const found = [];
    const walk = async (path, depth) => {
      for (const file of await files.list(path)) {
        if (file.folder && depth < 4) await walk(file.path, depth + 1);
        else if (!file.folder) found.push(file);
      }
    };
    if (!(await attempt(() => walk("", 0), "Not listed"))) return;
    // The weights are what a person wants; the rest tells other programs how to load them.
    found.sort((a, b) => Number(/\.(pt|onnx|safetensors)$/.test(b.path)) - Number(/\.(pt|onnx|safetensors)$/.test(a.path)) || (a.path < b.path ? -1 : 1));
    open({ title: `Version ${version.version} of ${this.name}`, body: h("div", { class: "stack" }, h("ul", { class: "stack" }, found.map((file) => h("li", {}, h("a", { class: "button-link", href: files.url(file.path), download: file.path.split("/").pop() }, icon("download"), file.path), " ", h("span", { class: "muted" }, bytes(file.size))))),
      h("p", { class: "muted" }, "In Python, all of it:"), command(`mlflow.pyfunc.load_model("models:/${this.name}/${version.version}")`)), actions: [{ text: "Done", kind: "primary" }] });
  }

  drawDetail() {
    const version = this.versions.find((one) => String(one.version) === this.shown);
    if (!version) {
      this.detailKey = null;
      fill(this.detail, this.shown ? h("p", { class: "empty" }, `There is no version ${this.shown}.`) : h("p", { class: "muted small-print" }, `${count(this.versions.length, "version")}. Choose one to see what it is made of.`));
      return;
    }
    const key = JSON.stringify([version, this.aliasesOf(version.version)]);
    if (key === this.detailKey) return;
    this.detailKey = key;
    const run = this.runs.get(version.run_id);
    const notes = new Notes({ title: "Description", empty: "What is different in this version?", save: (text) => api.describeVersion(this.name, version.version, text) });
    notes.show(version.description ?? "");
    const own = this.filesOf(version);
    const files = own && new Files(own);
    fill(this.detail, h("section", { class: "version stack", "aria-label": `Version ${version.version}` }, h("h2", {}, `Version ${version.version}`), notes.element, h("dl", { class: "facts" },
      run ? fact("Run", h("a", { href: route.runLink(run) }, run.name)) : null,
      run ? run.inputs.map(({ dataset, tags }) => fact(tags?.find((tag) => tag.key === "mlflow.data.context")?.value ?? "Data", [`${dataset.name} `, h("code", {}, dataset.digest)])) : null,
      run?.tags["yolo11.model"] ? fact("Network", run.tags["yolo11.model"]) : null, run?.tags["mlflow.source.git.commit"] ? fact("Commit", h("code", {}, run.tags["mlflow.source.git.commit"])) : null,
      (version.tags ?? []).map((tag) => fact(nameOf(tag.key), tag.value)), fact("Made", fullTime(Number(version.creation_timestamp))), fact("From", h("code", {}, version.source ?? ""))), files ? files.element : null));
    files?.load().catch((error) => { if (!this.gone) failure(files.element, error, null); });
  }
}
