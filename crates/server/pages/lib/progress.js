// How far a training is, from what it logs: the settings `epochs` and `batch`, the pictures of its data, the steps of its metrics.

const EPOCH_KEYS = ["train/box_loss", "metrics/mAP50-95B", "val/box_loss"];
const QUIET = 180000;

/** `{done, epochs, share, left, last, quiet}`; null for runs that log no epochs. `left` in milliseconds, null where nothing is known yet. */
export function progressOf(run, now = Date.now()) {
  const epochs = Number(run.params.epochs);
  if (!(epochs > 0)) return null;
  const at = EPOCH_KEYS.map((key) => run.latest[key]).find(Boolean);
  const done = Math.min(at?.step ?? 0, epochs);
  const batches = batchesOf(run);
  const step = run.latest["step/box_loss"];
  let share = done / epochs;
  if (batches && step && run.status === "RUNNING") share = Math.max(share, Math.min(step.step / batches, done + 1, epochs) / epochs);
  if (run.status === "FINISHED") share = 1;
  const heard = Math.max(run.start, ...Object.values(run.latest).map((latest) => latest.time));
  let left = null;
  if (done > 0) {
    const spent = run.metrics.seconds > 0 ? run.metrics.seconds * 1000 : at.time - run.start;
    left = Math.max(0, (spent / done) * (epochs - done) - Math.max(0, now - at.time));
  } else if (share > 0 && step) {
    left = Math.max(0, ((step.time - run.start) / share) * (1 - share) - (now - step.time));
  }
  return { done, epochs, share, left: run.status === "RUNNING" ? left : null, heard, quiet: run.status === "RUNNING" && now - heard > QUIET };
}

function batchesOf(run) {
  const training = run.inputs.find((input) => (input.tags ?? []).some((tag) => tag.key === "mlflow.data.context" && tag.value === "training"));
  const pictures = Number(parsed(training?.dataset?.profile)?.pictures);
  const batch = Number(run.params.batch);
  return pictures > 0 && batch > 0 ? Math.ceil(pictures / batch) : null;
}

export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const STATES = {
  RUNNING: { text: "Running", kind: "running" },
  SCHEDULED: { text: "Scheduled", kind: "scheduled" },
  FINISHED: { text: "Finished", kind: "finished" },
  FAILED: { text: "Failed", kind: "failed" },
  KILLED: { text: "Stopped", kind: "killed" },
};
