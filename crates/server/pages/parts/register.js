// Registering what a run made: its logged models, or a folder with weights, as a version of a model.

import { fill, h } from "../lib/dom.js";
import * as api from "../lib/api.js";
import { attempt, open } from "./dialog.js";

const WEIGHTS = /\.(pt|onnx|safetensors)$/;
const FITNESS = "metrics/mAP50-95B";

/** What of a run can be registered, each with a name to choose it by and where it is: its logged models, then folders that hold weights. */
export async function candidates(run) {
  const models = await Promise.all(run.models.map((id) => api.loggedModel(id).catch(() => null)));
  const found = models.filter(Boolean).map(({ info }) => ({ text: `the logged model ${info.name}`, source: `models:/${info.model_id}`, model: info.model_id }));
  const files = await api.artifacts(run.id);
  const folders = files.filter((file) => file.folder && file.path !== "images");
  const inside = await Promise.all(folders.map((folder) => api.artifacts(run.id, folder.path)));
  for (const [path, held] of [["", files], ...folders.map((folder, at) => [folder.path, inside[at]])]) {
    const weights = held.filter((file) => !file.folder && WEIGHTS.test(file.path)).map((file) => file.path.split("/").pop());
    if (weights.length) found.push({ text: `${path ? `the folder ${path}` : "all artifacts"} with ${weights.join(", ")}`, source: `${run.artifacts.replace(/\/$/, "")}${path ? `/${path}` : ""}` });
  }
  return found;
}

/** The best that a run reached, which promotion compares; null where it was not validated. */
async function fitness(run) {
  if (!(FITNESS in run.metrics)) return null;
  const { metrics } = await api.metricHistory([run.id], FITNESS, { limit: 2500 });
  const values = (metrics ?? []).map((metric) => Number(metric.value)).filter(Number.isFinite);
  return values.length ? Math.max(...values) : null;
}

/** Asks which weights become a version of which model. `done(version)` is called when it is there. */
export async function register(run, done) {
  let found;
  let models = [];
  if (!(await attempt(async () => { [found, models] = await Promise.all([candidates(run), api.registeredModels()]); }, "Not listed"))) return;
  if (!found.length) {
    open({ title: "Nothing to register yet", body: h("p", {}, "A model is made of weights: a logged model, or a folder of artifacts with a .pt, .onnx or .safetensors file. This run has sent neither so far."), actions: [{ text: "Done", kind: "primary" }] });
    return;
  }
  const name = h("input", { type: "text", list: "registered-models", autocomplete: "off", spellcheck: "false" });
  const which = h("select", {}, found.map((one, at) => h("option", { value: String(at) }, one.text)));
  const note = h("p", { class: "muted small-print", role: "status" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const tell = () => {
    const known = models.find((model) => model.name === name.value.trim());
    const latest = Math.max(0, ...(known?.latest_versions ?? []).map((version) => Number(version.version)));
    fill(note, known ? `It becomes the next version after ${latest}.` : name.value.trim() ? "There is no model of that name yet: it is made." : "A name for what the weights find; choose a model that is there to make a new version of it.");
  };
  name.addEventListener("input", tell);
  tell();
  const save = async () => {
    const model = name.value.trim();
    problem.hidden = true;
    try {
      if (!model) throw new Error("A model needs a name.");
      const { source, model: logged } = found[Number(which.value)];
      const best = await fitness(run);
      if (!models.some((one) => one.name === model)) await api.createModel(model);
      done(await api.createVersion(model, { source, run_id: run.id, model_id: logged, tags: best === null ? [] : [{ key: FITNESS, value: String(best) }] }));
      return true;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      name.focus();
      return false;
    }
  };
  const form = h("form", { class: "stack", onsubmit: async (event) => { event.preventDefault(); if (await save()) sheet.close(); } },
    h("label", {}, h("span", {}, "Model"), name), h("datalist", { id: "registered-models" }, models.map((model) => h("option", { value: model.name }))), note,
    h("label", {}, h("span", {}, "Weights"), which), problem);
  const sheet = open({ title: `Register weights of ${run.name}`, body: form, actions: [{ text: "Cancel", kind: "quiet" }, { text: "Register", kind: "primary", run: save }] });
  name.focus();
}
