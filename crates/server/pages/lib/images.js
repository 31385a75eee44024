// The pictures of a run: series logged with a step (`images/`, MLflow's names) and files.

import * as api from "./api.js";

const NAME = /^(?:.*\/)?(.+?)[+%]step[+%](-?\d+)[+%]timestamp[+%](\d+)[+%]([0-9a-fA-F-]+)(\+compressed|%compressed)?\.(png|webp|jpe?g|gif)$/;
const PICTURE = /\.(png|jpe?g|gif|webp)$/i;
const ORDER = ["results", "BoxPR_curve", "confusion_matrix", "confusion_matrix_normalized", "BoxF1_curve", "BoxP_curve", "BoxR_curve", "labels"];

export const isPicture = (path) => PICTURE.test(path);

/** `[{key, steps: [{step, small, full}]}]`, by name; a later picture of a step takes the place of an earlier one. */
export function seriesOf(files) {
  const series = new Map();
  for (const { path } of files) {
    const match = NAME.exec(path);
    if (!match) continue;
    const [, name, step, time, , compressed] = match;
    const key = name.replaceAll("~", "/").replaceAll("#", "/");
    if (!series.has(key)) series.set(key, new Map());
    const steps = series.get(key);
    const held = steps.get(Number(step)) ?? { step: Number(step), time: -1 };
    if (Number(time) > held.time) Object.assign(held, { time: Number(time), small: null, full: null });
    if (Number(time) === held.time) held[compressed ? "small" : "full"] = path;
    steps.set(Number(step), held);
  }
  return [...series].map(([key, steps]) => ({ key, steps: [...steps.values()].sort((a, b) => a.step - b.step) })).sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Pictures at the top of the artifacts, those that are asked for most first. */
export function picturesOf(files) {
  const rank = ({ path }) => { const at = ORDER.indexOf(path.replace(PICTURE, "")); return at < 0 ? ORDER.length : at; };
  return files.filter((file) => !file.folder && isPicture(file.path) && !file.path.includes("/")).sort((a, b) => rank(a) - rank(b) || (a.path < b.path ? -1 : 1));
}

/** The picture of a series to show at `step`: the last one up to it, else the first. */
export function at(series, step) {
  let found = series.steps[0];
  for (const one of series.steps) if (one.step <= step) found = one;
  return found;
}

export async function load(run, signal) {
  const top = await api.artifacts(run, "", { signal });
  const folder = top.some((file) => file.folder && file.path === "images");
  return { series: folder ? seriesOf(await api.artifacts(run, "images", { signal })) : [], pictures: picturesOf(top) };
}
