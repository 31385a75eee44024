// A table with a column for each run: settings that differ, results, circumstances.

import { h } from "../lib/dom.js";
import { duration, figure, when } from "../lib/format.js";
import { runLink } from "../lib/route.js";
import { STATES } from "../lib/progress.js";
import { differing, keysOf } from "../lib/runs.js";
import { swatch } from "./chart.js";

/** Whether less is better, as far as a metric's name tells; null where it does not. */
export function lessIsBetter(key) {
  if (/loss|error|seconds|latency/i.test(key)) return true;
  return /map|precision|recall|accuracy|f1|iou|images_per_second/i.test(key) ? false : null;
}

export function matrix(runs, { all, find }) {
  const { params, metrics } = keysOf(runs);
  const words = find.toLowerCase();
  const fits = (key) => key.toLowerCase().includes(words);
  const different = new Set(differing(runs));
  const settings = params.filter((key) => (all || different.has(key)) && fits(key)).sort();
  const results = metrics.filter((key) => !/^(system|step)\//.test(key) && fits(key)).sort();
  const section = (title, rows) => (rows.length ? [h("tr", { class: "section" }, h("th", { colspan: String(runs.length + 1), scope: "colgroup" }, title)), ...rows] : []);
  const row = (name, values, { differs = false } = {}) => h("tr", {}, h("th", { scope: "row", title: name }, name), values.map((value) => h("td", { class: differs ? "differs" : null, title: value }, value)));
  const metricRow = (key) => {
    const values = runs.map((run) => run.metrics[key]);
    const less = lessIsBetter(key);
    const finite = values.filter(Number.isFinite);
    const best = less === null || finite.length < 2 ? null : finite.reduce((a, b) => ((less ? b < a : b > a) ? b : a));
    return h("tr", {}, h("th", { scope: "row", title: key }, key), values.map((value) => h("td", { class: `number${value === best && best !== null ? " best" : ""}` }, figure(value), value === best && best !== null ? h("span", { class: "unseen" }, " best") : null)));
  };
  const circumstances = [["State", (run) => STATES[run.status]?.text ?? run.status], ["Started", (run) => when(run.start)], ["Took", (run) => duration((run.end ?? Date.now()) - run.start)],
    ["Data", (run) => run.inputs.map(({ dataset }) => `${dataset.name} ${dataset.digest.slice(0, 8)}`).join(", ")], ["Commit", (run) => (run.tags["mlflow.source.git.commit"] ?? "").slice(0, 10)], ["User", (run) => run.user]]
    .filter(([name]) => fits(name)).map(([name, of]) => { const values = runs.map(of); return row(name, values, { differs: name === "Data" && new Set(values).size > 1 }); });
  const shown = (value) => (value === undefined ? "" : value === "null" ? "–" : value);
  return h("div", { class: "matrix", tabindex: "0", role: "region", "aria-label": "Runs side by side" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Name")), runs.map((run) => h("th", { scope: "col", title: run.name }, swatch(run.look), " ", h("a", { href: runLink(run) }, run.name))))),
    h("tbody", {}, section(all ? "Settings" : `Settings that differ (${different.size} of ${params.length})`, settings.map((key) => row(key, runs.map((run) => shown(run.params[key])), { differs: all && different.has(key) }))),
      section("Latest values", results.map(metricRow)), section("Circumstances", circumstances))));
}
