// Which metrics belong into one chart, what the charts are called, and in which order a person looks for them.

const PLAN = [
  ["Losses", [["box loss", { training: "train/box_loss", validation: "val/box_loss" }], ["class loss", { training: "train/cls_loss", validation: "val/cls_loss" }],
    ["distribution loss", { training: "train/dfl_loss", validation: "val/dfl_loss" }]]],
  ["Accuracy", [["mAP", { "mAP50-95": "metrics/mAP50-95B", mAP50: "metrics/mAP50B" }], ["precision and recall", { precision: "metrics/precisionB", recall: "metrics/recallB" }]]],
  ["Optimiser", [["learning rate", { weights: "lr/pg0", norms: "lr/pg1", biases: "lr/pg2" }], ["gradient norm", { "gradient norm": "step/gradient_norm" }]]],
  ["Every batch", [["losses of batches", { box: "step/box_loss", class: "step/cls_loss", distribution: "step/dfl_loss" }], ["learning rate of batches", { rate: "step/lr" }]]],
];

/** Steps of one kind are zoomed together: epochs, batches, samples of the machine. */
export function kindOf(key) {
  if (key.startsWith("step/")) return "batch";
  return key.startsWith("system/") ? "system" : "epoch";
}

const isSystem = (key) => key.startsWith("system/");

/** Charts of one run: `[{title, charts: [{id, title, kind, curves: [{key, label}]}]}]`. */
export function chartsOf(keys) {
  const left = new Set(keys.filter((key) => !isSystem(key)));
  const groups = [];
  for (const [title, plans] of PLAN) {
    const charts = [];
    for (const [name, wanted] of plans) {
      const curves = Object.entries(wanted).filter(([, key]) => left.has(key)).map(([label, key]) => ({ key, label }));
      for (const { key } of curves) left.delete(key);
      if (curves.length) charts.push({ id: name, title: name, kind: kindOf(curves[0].key), curves });
    }
    if (charts.length) groups.push({ title, charts });
  }
  const others = new Map();
  for (const key of [...left].sort()) {
    const cut = key.indexOf("/");
    const title = cut > 0 ? key.slice(0, cut) : "Other";
    if (!others.has(title)) others.set(title, []);
    others.get(title).push(single(key));
  }
  return [...groups, ...[...others].map(([title, charts]) => ({ title: title === "metrics" ? "More metrics" : title, charts }))];
}

/** One chart a metric, for several runs. */
export function chartsOfMany(keys) {
  const order = PLAN.flatMap(([title, plans]) => plans.flatMap(([, wanted]) => Object.values(wanted).map((key) => [key, title])));
  const places = new Map(order.map(([key, title], index) => [key, { title, index }]));
  const groups = new Map();
  // Accuracy is what runs are compared by.
  const rank = (key) => (key.startsWith("metrics/") ? -1000 : 0) + (places.get(key)?.index ?? 500);
  for (const key of keys.filter((one) => !isSystem(one)).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))) {
    const title = places.get(key)?.title ?? (key.startsWith("metrics/") ? "Accuracy" : "Other");
    if (!groups.has(title)) groups.set(title, []);
    groups.get(title).push(single(key));
  }
  return [...groups].map(([title, charts]) => ({ title, charts }));
}

export function systemCharts(keys) {
  const charts = keys.filter(isSystem).sort().map(single);
  return charts.length ? [{ title: "System", charts }] : [];
}

function single(key) {
  return { id: key, title: nameOf(key), kind: kindOf(key), curves: [{ key, label: nameOf(key) }] };
}

export function nameOf(key) {
  if (isSystem(key)) {
    return key.slice(7).replace("cpu_", "CPU ").replace(/gpu_(\d+)_/, "GPU $1 ").replaceAll("_", " ").replace(" utilization percentage", " use, %").replace(" percentage", ", %").replace(" megabytes", ", MB");
  }
  return key.replace(/^metrics\/(.*?)B?$/, "$1");
}
