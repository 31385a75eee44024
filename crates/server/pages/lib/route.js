// The address after `#` holds the whole state of a page, so that every view is a link. Paths are those of MLflow's own UI.

export function parse(hash) {
  const text = hash.replace(/^#\/?/, "");
  const cut = text.indexOf("?");
  const path = (cut < 0 ? text : text.slice(0, cut)).split("/").filter(Boolean).map(decode);
  return { path, query: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function current() {
  return parse(location.hash);
}

export function href(path, query = {}) {
  const pairs = query instanceof URLSearchParams ? query : new URLSearchParams();
  if (!(query instanceof URLSearchParams)) {
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined && value !== "") pairs.set(name, value);
    }
  }
  // Commas and slashes are readable in a fragment, and links are looked at.
  const text = pairs.toString().replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%3A", ":");
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Changes the state in the address without leaving the page. `push`: a step that the back button takes back. */
export function patch(changes, { push = false } = {}) {
  const { path, query } = current();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  const next = href(path, query);
  if (next === location.hash) return;
  if (push) history.pushState(null, "", next);
  else history.replaceState(null, "", next);
}

export function go(address) {
  location.hash = address.replace(/^#/, "");
}

/** Lists in the address: names may hold commas, so those are escaped. */
export function list(text) {
  return text ? text.split(",").filter(Boolean).map((part) => part.replaceAll("%2C", ",").replaceAll("%25", "%")) : [];
}

export function joined(names) {
  return names.map((name) => name.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
}

export const runLink = (run, query = {}) => href(["experiments", run.experiment, "runs", run.id], query);
export const modelLink = (name, version = null) => href(version ? ["models", name, "versions", String(version)] : ["models", name]);
