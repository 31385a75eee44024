// Settings, tags and data of a run: what made it what it is.

import { h, fill, button } from "../lib/dom.js";
import { figure } from "../lib/format.js";
import { parsed } from "../lib/progress.js";
import * as api from "../lib/api.js";
import { ask, attempt, open } from "./dialog.js";

/** A table of names and values with a field that narrows it. */
function findable(title, pairs, { empty, tools = null, row = null }) {
  const body = h("tbody", {});
  const find = h("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${title.toLowerCase()}`, oninput: () => draw() });
  const draw = () => {
    const words = find.value.toLowerCase();
    const found = pairs.filter(([key, value]) => `${key}=${value}`.toLowerCase().includes(words));
    fill(body, found.map(([key, value]) => h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, value === "null" ? h("span", { class: "muted" }, "–") : value), row ? h("td", { class: "row-tools" }, row(key, value)) : null)),
      found.length ? null : h("tr", {}, h("td", { class: "muted" }, pairs.length ? "None of that name." : empty)));
  };
  draw();
  return h("section", { class: "card" }, h("header", {}, h("h2", {}, title), h("div", { class: "row" }, pairs.length > 8 ? find : null, tools)), h("table", { class: "plain" }, body));
}

/** Everything about the run that is not a curve; `onchange` after a tag was changed. */
export function settings(run, onchange) {
  const params = Object.entries(run.params).sort(([a], [b]) => (a < b ? -1 : 1));
  const own = Object.entries(run.tags).filter(([key]) => key !== "mlflow.note.content").sort(([a], [b]) => Number(a.startsWith("mlflow.")) - Number(b.startsWith("mlflow.")) || (a < b ? -1 : 1));
  const fixed = (key) => key.startsWith("mlflow.") || key.startsWith("yolo11.");
  const tags = findable("Tags", own, { empty: "None yet.", tools: button("Add", () => editTag(run, null, onchange), { glyph: "plus", kind: "small" }),
    row: (key) => (fixed(key) ? null : [button(`Change ${key}`, () => editTag(run, key, onchange), { glyph: "edit", kind: "quiet small", iconOnly: true }),
      button(`Remove ${key}`, () => removeTag(run, key, onchange), { glyph: "close", kind: "quiet small", iconOnly: true })]) });
  const latest = Object.entries(run.metrics).filter(([key]) => !key.startsWith("system/") && !key.startsWith("step/")).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [key, figure(value)]);
  return h("div", { class: "cards" }, findable("Settings", params, { empty: "None were logged." }), h("div", { class: "stack" }, data(run), tags, findable("Latest values", latest, { empty: "None yet." })));
}

function editTag(run, key, onchange) {
  const name = h("input", { type: "text", value: key ?? "", disabled: key !== null, maxlength: "250", autocomplete: "off" });
  const value = h("input", { type: "text", value: key === null ? "" : run.tags[key], maxlength: "8000", autocomplete: "off" });
  open({ title: key === null ? "Add a tag" : "Change a tag", body: h("div", { class: "stack" }, h("label", {}, h("span", {}, "Name"), name), h("label", {}, h("span", {}, "Value"), value)),
    actions: [{ text: "Cancel", kind: "quiet" }, { text: "Save", kind: "primary", run: async () => {
      if (!name.value.trim()) { name.focus(); return false; }
      const done = await attempt(() => api.setTag(run.id, name.value.trim(), value.value), "Not saved");
      if (done) onchange();
      return done;
    } }] });
  (key === null ? name : value).focus();
}

async function removeTag(run, key, onchange) {
  if (!(await ask({ title: `Remove the tag ${key}?`, text: `Its value is ${run.tags[key]}.`, agree: "Remove" }))) return;
  if (await attempt(() => api.deleteTag(run.id, key), "Not removed")) onchange();
}

/** The data sets a run learned from and was measured on, with their version and what is in them. */
export function data(run) {
  return h("section", { class: "card" }, h("header", {}, h("h2", {}, "Data")), run.inputs.length ? run.inputs.map((input) => {
    const { dataset } = input;
    const context = input.tags?.find((tag) => tag.key === "mlflow.data.context")?.value ?? "";
    const profile = parsed(dataset.profile) ?? {};
    const classes = parsed(dataset.schema)?.classes ?? [];
    const uri = parsed(dataset.source)?.uri ?? "";
    const counts = Array.isArray(profile.objects_per_class) ? profile.objects_per_class : [];
    const most = Math.max(1, ...counts);
    return h("div", { class: "dataset" }, h("h3", {}, dataset.name, context ? h("span", { class: "chip" }, context) : null), h("dl", { class: "facts" },
      fact("Version", h("code", {}, dataset.digest)), uri ? fact("From", h("code", {}, uri)) : null,
      profile.pictures !== undefined ? fact("Pictures", `${profile.pictures.toLocaleString("en")}${profile.backgrounds ? `, ${profile.backgrounds} without objects` : ""}`) : null,
      profile.objects !== undefined ? fact("Objects", profile.objects.toLocaleString("en")) : null),
    counts.length ? h("table", { class: "plain bars" }, h("caption", { class: "unseen" }, "Objects of each class"), h("tbody", {}, counts.slice(0, 40).map((value, at) => h("tr", {}, h("th", { scope: "row" }, classes[at] ?? `class ${at}`),
      h("td", {}, h("meter", { min: "0", max: String(most), value: String(value), "aria-label": classes[at] ?? `class ${at}` })), h("td", { class: "number" }, value.toLocaleString("en")))))) : null);
  }) : h("p", { class: "muted" }, "No data set was logged."));
}

export const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
