// The server's REST interface: MLflow's calls, and nothing else is needed.

const ROOT = new URL("ajax-api/2.0/mlflow/", document.baseURI);

/** What the server refused or could not do. `status` 0: it did not answer at all. */
export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }

  get isGone() {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

async function request(url, options = {}) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer.", 0, "NO_ANSWER");
  }
  if (answer.ok) return answer;
  const text = await answer.text().catch(() => "");
  let told = {};
  try {
    told = JSON.parse(text);
  } catch {
    // An error page of something in between.
  }
  if (answer.status === 401) dispatchEvent(new Event("signed-out"));
  const message = told.message || `The server answered ${answer.status}.`;
  throw new ApiError(message, answer.status, told.error_code ?? "");
}

function query(values) {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined) pairs.append(name, one);
    }
  }
  return pairs.toString();
}

export async function get(path, values = {}, options = {}) {
  const answer = await request(new URL(`${path}?${query(values)}`, ROOT), options);
  return understood(answer);
}

/** An answer that breaks off in the middle is no answer; one that is no JSON comes from something in between. */
async function understood(answer) {
  let text;
  try {
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server's answer broke off.", 0, "NO_ANSWER");
  }
  try {
    return text.trim() ? JSON.parse(text) : {};
  } catch {
    throw new ApiError("What the server answered is not JSON: is something between it and this page?", answer.status, "NOT_JSON");
  }
}

/** What the server answers at an address of its own. */
export const ask = async (url, options) => understood(await request(url, options));

export async function send(path, body, { method = "POST", ...options } = {}) {
  const answer = await request(new URL(path, ROOT), { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...options });
  return understood(answer);
}

/** Every page of a search; `each` sees a page as soon as it is there and may end the search with `false`. */
export async function pages(ask, field, each) {
  let token;
  do {
    const answer = await ask(token);
    if (each(answer[field] ?? []) === false) return;
    token = answer.next_page_token;
  } while (token);
}

export async function experiments(options) {
  const found = [];
  await pages((token) => get("experiments/search", { max_results: 1000, view_type: "ACTIVE_ONLY", page_token: token }, options),
    "experiments", (part) => { found.push(...part); });
  return found;
}

/** Latest values, settings and tags as objects; times as numbers. */
export function runOf(raw) {
  const { info, data = {}, inputs = {}, outputs = {} } = raw;
  const run = {
    id: info.run_id ?? info.run_uuid, name: info.run_name || (info.run_id ?? "").slice(0, 8), experiment: String(info.experiment_id),
    status: info.status ?? "RUNNING", start: Number(info.start_time ?? 0), end: info.end_time ? Number(info.end_time) : null,
    user: info.user_id ?? "", deleted: info.lifecycle_stage === "deleted", artifacts: info.artifact_uri ?? "",
    metrics: {}, latest: {}, params: {}, tags: {}, inputs: trainingFirst(inputs.dataset_inputs ?? []),
    models: (outputs.model_outputs ?? []).map((output) => output.model_id),
  };
  for (const { key, value, step, timestamp } of data.metrics ?? []) {
    run.metrics[key] = Number(value);
    run.latest[key] = { step: Number(step ?? 0), time: Number(timestamp ?? 0) };
  }
  for (const { key, value } of data.params ?? []) run.params[key] = value;
  for (const { key, value } of data.tags ?? []) run.tags[key] = value;
  run.user = run.tags["mlflow.user"] || run.user;
  return run;
}

const contextOf = (input) => (input.tags ?? []).find((tag) => tag.key === "mlflow.data.context")?.value ?? "";
const trainingFirst = (inputs) => [...inputs].sort((a, b) => Number(contextOf(b) === "training") - Number(contextOf(a) === "training"));

export function searchRuns({ experiments: ids, filter = "", view = "ACTIVE_ONLY", limit = 1000, order = [], token }, options) {
  return send("runs/search", { experiment_ids: ids, filter, run_view_type: view, max_results: limit, order_by: order, page_token: token }, options);
}

export async function run(id, options) {
  return runOf((await get("runs/get", { run_id: id }, options)).run);
}

export const setTag = (id, key, value) => send("runs/set-tag", { run_id: id, key, value });
export const deleteTag = (id, key) => send("runs/delete-tag", { run_id: id, key });
export const renameRun = (id, name) => send("runs/update", { run_id: id, run_name: name });
export const deleteRun = (id) => send("runs/delete", { run_id: id });
export const restoreRun = (id) => send("runs/restore", { run_id: id });

/** The artifacts of a folder, every page of them. */
export async function artifacts(id, path = "", options) {
  const files = [];
  let root = "";
  await pages(async (token) => {
    const answer = await get("artifacts/list", { run_id: id, path: path || undefined, page_token: token }, options);
    root = answer.root_uri ?? root;
    return answer;
  }, "files", (part) => { files.push(...part.map(fileOf)); });
  return files;
}

export async function modelArtifacts(modelId, path = "") {
  const answer = await get(`logged-models/${encodeURIComponent(modelId)}/artifacts/directories`, { artifact_directory_path: path || undefined });
  return (answer.files ?? []).map(fileOf);
}

const fileOf = (file) => ({ path: file.path, folder: Boolean(file.is_dir), size: file.file_size === undefined ? null : Number(file.file_size) });

export const artifactUrl = (id, path) => new URL(`get-artifact?${query({ run_uuid: id, path })}`, document.baseURI).href;
export const modelArtifactUrl = (modelId, path) =>
  new URL(`logged-models/${encodeURIComponent(modelId)}/artifacts/files?${query({ artifact_file_path: path })}`, ROOT).href;
export const versionArtifactUrl = (name, version, path) =>
  new URL(`model-versions/get-artifact?${query({ name, version, path })}`, document.baseURI).href;

/** The text of a file from byte `from`, at most `limit` bytes; servers without ranges send it whole. */
export async function text(url, { from = 0, limit = 262144, signal } = {}) {
  let answer;
  try {
    answer = await request(url, { signal, headers: { Range: `bytes=${from}-${from + limit - 1}` } });
  } catch (error) {
    if (error.status === 416) return { text: "", from, size: from, whole: true };
    throw error;
  }
  if (answer.status === 206) {
    const size = Number((answer.headers.get("Content-Range") ?? "").split("/")[1]) || null;
    const data = new Uint8Array(await answer.arrayBuffer());
    return { data, text: decode(data), from, size, whole: size !== null && from + data.length >= size };
  }
  const all = new Uint8Array(await answer.arrayBuffer());
  const data = all.subarray(from, from + limit);
  return { data, text: decode(data), from, size: all.length, whole: from + data.length >= all.length };
}

const decode = (data) => new TextDecoder().decode(data);

export function metricHistory(runIds, key, { from, to, limit }, options) {
  const window = from === undefined ? {} : { start_step: from, end_step: to };
  return get("metrics/get-history-bulk-interval", { run_ids: runIds, metric_key: key, max_results: limit, ...window }, options);
}

export async function registeredModels() {
  const found = [];
  await pages((token) => get("registered-models/search", { max_results: 200, page_token: token }), "registered_models",
    (part) => { found.push(...part); });
  return found;
}

export const loggedModel = async (id) => (await get(`logged-models/${encodeURIComponent(id)}`)).model;

/** Makes a registered model where there is none of that name. */
export async function createModel(name) {
  try {
    await send("registered-models/create", { name });
  } catch (error) {
    if (error.code !== "RESOURCE_ALREADY_EXISTS") throw error;
  }
}

export const createVersion = async (name, values) => (await send("model-versions/create", { name, ...values })).model_version;

export const registeredModel = async (name) => (await get("registered-models/get", { name })).registered_model;

export async function modelVersions(filter) {
  const found = [];
  await pages((token) => get("model-versions/search", { filter, max_results: 1000, page_token: token }), "model_versions",
    (part) => { found.push(...part); });
  return found.sort((a, b) => Number(b.version) - Number(a.version));
}

/** Text in MLflow's filters stands between quotes; a quote inside is not known to every server, so the other one is taken. */
export const quoted = (value) => (value.includes("'") ? `"${value}"` : `'${value}'`);

export const setAlias = (name, alias, version) => send("registered-models/alias", { name, alias, version });
export const deleteAlias = (name, alias) => send("registered-models/alias", { name, alias }, { method: "DELETE" });
export const describeModel = (name, description) => send("registered-models/update", { name, description }, { method: "PATCH" });
export const describeVersion = (name, version, description) => send("model-versions/update", { name, version, description }, { method: "PATCH" });
