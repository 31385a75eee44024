// The columns of the table of runs: which there can be, which are chosen, how a cell is filled, how rows are ordered.

import { h, fill, say, set, button } from "../lib/dom.js";
import { figure, when, fullTime, duration } from "../lib/format.js";
import { runLink } from "../lib/route.js";
import { progressOf, STATES } from "../lib/progress.js";
import { differing, keysOf } from "../lib/runs.js";
import { open } from "./dialog.js";

const METRICS = ["metrics/mAP50-95B", "metrics/mAP50B", "metrics/precisionB", "metrics/recallB", "train/box_loss", "val/box_loss"];
const PARAMS = ["model", "epochs", "imgsz", "batch", "optimizer", "lr0"];
const WIDTHS = { text: 120, number: 112, name: 250 };

const ATTRIBUTES = {
  state: { label: "State", width: 168, value: (run) => STATES[run.status]?.text ?? run.status, fill: fillState },
  started: { label: "Started", width: 118, numeric: true, value: (run) => run.start, fill: (cell, run) => { say(cell, when(run.start)); cell.title = fullTime(run.start); } },
  duration: { label: "Duration", width: 112, numeric: true, value: lasted, fill: (cell, run) => say(cell, run.start ? duration(lasted(run)) : "") },
  experiment: { label: "Experiment", width: 140 },
  user: { label: "User", width: 100, value: (run) => run.user },
  data: { label: "Data", width: 170, value: dataOf, title: "Name and version of the data set" },
  commit: { label: "Commit", width: 90, value: (run) => (run.tags["mlflow.source.git.commit"] ?? "").slice(0, 8) },
};

function lasted(run) {
  return (run.end ?? Date.now()) - run.start;
}

function dataOf(run) {
  const dataset = run.inputs[0]?.dataset;
  return dataset ? `${dataset.name} ${dataset.digest.slice(0, 8)}` : "";
}

export function fillState(cell, run) {
  const state = STATES[run.status] ?? { text: run.status, kind: "scheduled" };
  const progress = run.status === "RUNNING" ? progressOf(run) : null;
  const text = progress ? `${progress.done}/${progress.epochs}` : "";
  let pill = cell.firstElementChild;
  if (!pill || pill.dataset.kind !== state.kind || Boolean(progress) !== Boolean(pill.nextElementSibling)) {
    pill = h("span", { class: `state ${state.kind}`, "data-kind": state.kind }, state.text);
    fill(cell, pill, progress ? [h("progress", { max: "1", "aria-label": "Progress" }), h("span", { class: "state-epochs" })] : null);
  }
  if (progress) {
    set(pill.nextElementSibling, { value: progress.share });
    say(cell.lastElementChild, text);
    cell.title = `Epoch ${progress.done} of ${progress.epochs}`;
  }
}

/** A column by its id: `state`, `metrics.<key>`, `params.<key>`, `tags.<key>`. */
export function column(id, { experiments, widths = {} }) {
  const made = { id, width: widths[id] };
  const attribute = ATTRIBUTES[id];
  if (id === "name") return { ...made, label: "Run", width: made.width ?? WIDTHS.name, value: (run) => run.name.toLowerCase(), fill: fillName };
  if (attribute) {
    const value = id === "experiment" ? (run) => experiments.get(run.experiment)?.name ?? run.experiment : attribute.value;
    return { ...made, ...attribute, value, width: made.width ?? attribute.width, kind: `is-${id}`, fill: attribute.fill ?? ((cell, run) => { say(cell, value(run)); cell.title = value(run); }) };
  }
  const cut = id.indexOf(".");
  const [kind, key] = [id.slice(0, cut), id.slice(cut + 1)];
  const numeric = kind === "metrics";
  const value = (run) => run[kind]?.[key];
  const fillCell = numeric
    ? (cell, run) => { say(cell, figure(value(run))); }
    : (cell, run) => { const text = shown(value(run)); say(cell, text); cell.title = text; };
  return { ...made, label: shortened(key), title: `${kind}: ${key}`, numeric: numeric || undefined, kind: `is-${kind}`, value: numeric ? value : (run) => orderable(value(run)),
    width: made.width ?? (numeric ? WIDTHS.number : Math.min(WIDTHS.text, Math.max(76, shortened(key).length * 8 + 36))), fill: fillCell };
}

const shown = (value) => (value === undefined ? "" : value === "null" ? "–" : value);
const shortened = (key) => key.replace(/^(metrics)\//, "").replace(/B$/, (end, at) => (/mAP|precision|recall/.test(key) ? "" : end)).replace(/^mlflow\./, "");

/** Settings are text: those that are numbers are ordered as such. */
function orderable(value) {
  if (value === undefined || value === "" || value === "null") return undefined;
  const number = Number(value);
  return Number.isNaN(number) ? value.toLowerCase() : number;
}

function fillName(cell, run) {
  let link = cell.firstElementChild;
  if (!link) {
    link = h("a", { tabindex: "-1", class: "run-name" });
    cell.append(link);
  }
  const address = runLink(run);
  if (link.getAttribute("href") !== address) link.setAttribute("href", address);
  say(link, run.name);
  cell.title = run.name;
}

/** Chosen for a person who has not chosen: what a detector's training is judged by, else what there is. */
export function standard(runs, experiments, grouped, single) {
  const { metrics, params } = keysOf(runs);
  const known = METRICS.filter((key) => metrics.includes(key));
  const told = known.length ? known : metrics.filter((key) => !/^(system|step)\//.test(key)).slice(0, 5);
  const different = runs.length > 1 ? differing(runs.slice(0, 200)).filter((key) => !/^mlflow\.|^name$/.test(key)) : [];
  const usual = PARAMS.filter((key) => params.includes(key));
  const settings = [...new Set([...usual, ...different.slice(0, usual.length ? 3 : 6)])];
  return ["state", "started", "duration", ...(experiments.size > 1 && !grouped && !single ? ["experiment"] : []), ...told.map((key) => `metrics.${key}`), ...settings.map((key) => `params.${key}`)];
}

/** Orders runs by a column; what has no value comes last either way. */
export function ordered(runs, by, down) {
  const missing = (value) => value === undefined || value === null || value === "" || Number.isNaN(value);
  const keyed = runs.map((run) => [by.value(run), run]);
  const direction = down ? -1 : 1;
  keyed.sort(([a, first], [b, second]) => {
    if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b)) || second.start - first.start;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return (a < b ? -direction : a > b ? direction : 0) || second.start - first.start;
  });
  return keyed.map(([, run]) => run);
}

/** A window in which columns are chosen and put in order. */
export function chooseColumns({ chosen, runs, experiments, onchange, onreset }) {
  let ids = [...chosen];
  const { metrics, params, tags } = keysOf(runs);
  const groups = [["Run", Object.keys(ATTRIBUTES)], ["Metrics", metrics.map((key) => `metrics.${key}`)],
    ["Settings", params.map((key) => `params.${key}`)], ["Tags", tags.map((key) => `tags.${key}`)]];
  const name = (id) => (ATTRIBUTES[id] ? ATTRIBUTES[id].label : id.slice(id.indexOf(".") + 1));
  const order = h("ol", { class: "chosen-columns" });
  const pool = h("div", { class: "column-pool" });
  const find = h("input", { type: "search", placeholder: "Find a column", "aria-label": "Find a column", oninput: () => drawPool() });
  const change = (next) => { ids = next; onchange(ids); drawOrder(); };
  const drawOrder = (focus = null) => {
    fill(order, ids.map((id, at) => h("li", {}, h("span", {}, name(id)),
      button(`Move ${name(id)} up`, () => move(at, -1), { glyph: "up", kind: "quiet small", iconOnly: true, disabled: at === 0 }),
      button(`Move ${name(id)} down`, () => move(at, 1), { glyph: "down", kind: "quiet small", iconOnly: true, disabled: at === ids.length - 1 }),
      button(`Remove ${name(id)}`, () => { change(ids.filter((one) => one !== id)); drawPool(); }, { glyph: "close", kind: "quiet small", iconOnly: true }))));
    if (focus) order.children[focus.at]?.querySelectorAll("button")[focus.which]?.focus();
  };
  const move = (at, by) => {
    const next = [...ids];
    [next[at], next[at + by]] = [next[at + by], next[at]];
    ids = next;
    onchange(ids);
    drawOrder({ at: at + by, which: by < 0 ? 0 : 1 });
  };
  const drawPool = () => {
    const words = find.value.toLowerCase();
    fill(pool, groups.map(([title, all]) => {
      const found = all.filter((id) => name(id).toLowerCase().includes(words)).slice(0, 200);
      return found.length === 0 ? null : h("fieldset", {}, h("legend", {}, title), found.map((id) => h("label", { class: "check-row" },
        h("input", { type: "checkbox", checked: ids.includes(id), onchange: (event) => change(event.target.checked ? [...ids, id] : ids.filter((one) => one !== id)) }),
        h("span", {}, name(id)))));
    }));
    if (!pool.childElementCount) fill(pool, h("p", { class: "muted" }, "No column of that name."));
  };
  drawOrder();
  drawPool();
  open({ title: "Columns", wide: true, body: h("div", { class: "columns-dialog" }, h("section", {}, h("h3", {}, "Shown, in this order"), order),
    h("section", {}, find, pool)), actions: [{ text: "The usual ones", kind: "quiet", run: () => onreset() }, { text: "Done", kind: "primary" }] });
  find.focus();
}
