// Artifacts: a tree of folders, a preview that never runs what it shows, a download.

import { h, fill, icon, set } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import * as api from "../lib/api.js";
import { isPicture } from "../lib/images.js";
import { command } from "./empty.js";
import { failure } from "./dialog.js";

const TEXT = /\.(txt|log|ya?ml|json|jsonl|csv|tsv|md|toml|ini|cfg|py|rs|sh|xml|html?|svg|dvc)$|(^|\/)(MLmodel|Dockerfile|LICENSE)$/i;
const BINARY = /\.(pt|onnx|safetensors|torchscript|zip|gz|npz|npy)$/i;
const ROWS = 500;

export class Files {
  /** `list(path)` gives a folder's files, `url(path)` where a file is; `onselect(path)` is told what is shown. */
  constructor({ list, url, onselect, selected = null }) {
    Object.assign(this, { list, url, onselect, selected });
    this.tree = h("ul", { class: "tree", role: "tree", "aria-label": "Artifacts" });
    this.preview = h("div", { class: "preview", "aria-live": "polite" }, h("p", { class: "muted" }, "Choose a file to see it."));
    this.element = h("div", { class: "files" }, this.tree, this.preview);
    this.tree.addEventListener("keydown", (event) => this.key(event));
  }

  async load() {
    const files = await this.list("");
    const key = JSON.stringify(files);
    if (key === this.loaded) return;
    this.loaded = key;
    if (!files.length) {
      fill(this.element, h("div", { class: "empty" }, h("h2", {}, "No artifacts"), h("p", {}, "Weights, tables and pictures appear here when the training has written them.")));
      return;
    }
    if (!this.tree.isConnected) fill(this.element, this.tree, this.preview);
    this.branch(this.tree, files);
    const first = this.tree.querySelector("[role=treeitem]");
    if (first) set(first, { tabindex: "0" });
    if (this.selected) await this.reveal(this.selected);
  }

  branch(place, files) {
    const sorted = [...files].sort((a, b) => Number(b.folder) - Number(a.folder) || (a.path < b.path ? -1 : 1));
    fill(place, sorted.map((file) => {
      const name = file.path.split("/").pop();
      const item = h("li", { role: "treeitem", tabindex: "-1", "aria-selected": String(file.path === this.selected), "aria-expanded": file.folder ? "false" : null, "aria-label": file.folder ? `${name}, folder` : `${name}, ${bytes(file.size)}` });
      item.dataset.path = file.path;
      const line = h("div", { class: "tree-line", onclick: () => this.choose(item, file) }, icon(file.folder ? "folder" : isPicture(name) ? "image" : "file"), h("span", { class: "tree-name" }, name), h("span", { class: "muted" }, file.folder ? "" : bytes(file.size)));
      item.append(line);
      item.file = file;
      return item;
    }));
  }

  async choose(item, file) {
    this.tree.querySelectorAll("[role=treeitem]").forEach((one) => set(one, { tabindex: "-1" }));
    set(item, { tabindex: "0" });
    item.focus({ preventScroll: true });
    if (file.folder) { await this.toggle(item, file); return; }
    this.tree.querySelectorAll("[aria-selected=true]").forEach((one) => one.setAttribute("aria-selected", "false"));
    item.setAttribute("aria-selected", "true");
    this.selected = file.path;
    this.onselect?.(file.path);
    await this.show(file);
  }

  async toggle(item, file) {
    const open = item.getAttribute("aria-expanded") === "true";
    item.setAttribute("aria-expanded", String(!open));
    if (open) { item.querySelector("[role=group]")?.remove(); return; }
    const group = h("ul", { role: "group" }, h("li", { role: "none", class: "muted" }, "Loading…"));
    item.append(group);
    try {
      this.branch(group, await this.list(file.path));
    } catch (error) {
      fill(group, h("li", { role: "none", class: "muted" }, error.message));
    }
  }

  async reveal(path) {
    const parts = path.split("/");
    for (let length = 1; length <= parts.length; length += 1) {
      const item = this.tree.querySelector(`[data-path="${CSS.escape(parts.slice(0, length).join("/"))}"]`);
      if (!item) return;
      if (item.file.folder && item.getAttribute("aria-expanded") !== "true") await this.toggle(item, item.file);
      else if (!item.file.folder) { item.setAttribute("aria-selected", "true"); await this.show(item.file); }
    }
  }

  key(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item) return;
    const all = [...this.tree.querySelectorAll("[role=treeitem]")];
    const at = all.indexOf(item);
    const expanded = item.getAttribute("aria-expanded");
    const to = { ArrowDown: all[at + 1], ArrowUp: all[at - 1], Home: all[0], End: all[all.length - 1] }[event.key];
    if (to) { set(item, { tabindex: "-1" }); set(to, { tabindex: "0" }); to.focus(); }
    else if (event.key === "Enter" || event.key === " ") this.choose(item, item.file);
    else if (event.key === "ArrowRight" && expanded === "false") this.toggle(item, item.file);
    else if (event.key === "ArrowLeft" && expanded === "true") this.toggle(item, item.file);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async show(file) {
    const url = this.url(file.path);
    const name = file.path.split("/").pop();
    const body = h("div", { class: "preview-body" }, h("p", { class: "muted" }, "Loading…"));
    fill(this.preview, h("header", {}, h("h3", {}, name), h("span", { class: "muted" }, bytes(file.size)),
      h("a", { href: url, download: name, class: "button-link" }, icon("download"), "Download")), body);
    const mine = () => this.selected === file.path || !this.selected;
    try {
      if (isPicture(name)) fill(body, h("img", { src: url, alt: file.path }));
      else if (TEXT.test(name) || (!BINARY.test(name) && file.size !== null && file.size < 20000)) {
        const found = await api.text(url);
        if (mine()) fill(body, ...rendered(name, found));
      } else fill(body, about(name));
    } catch (error) {
      if (mine()) failure(body, error, () => this.show(file));
    }
  }
}

/** What to do with a file that is not shown. */
function about(name) {
  if (/\.pt$/.test(name)) return [h("p", {}, "A checkpoint. Downloaded, it finds objects in pictures with:"), command(`yolo11 predict model=${name} source=pictures/`)];
  if (/\.onnx$/.test(name)) return [h("p", {}, "A network for other programs, in the ONNX format.")];
  return [h("p", { class: "muted" }, "Nothing to show here: download it to open it.")];
}

function rendered(name, { text, whole, data }) {
  if (data?.subarray(0, 4096).includes(0)) return [h("p", { class: "muted" }, "Nothing to show here: it is not text.")];
  const more = whole ? null : h("p", { class: "muted" }, "The beginning; the download has all of it.");
  if (/\.(csv|tsv)$/i.test(name)) {
    const rows = separated(whole ? text : text.slice(0, text.lastIndexOf("\n")), name.endsWith("tsv") ? "\t" : ",");
    return [tableOf(rows[0] ?? [], rows.slice(1)), more];
  }
  if (/\.json$/i.test(name) && whole) {
    try {
      const value = JSON.parse(text);
      if (Array.isArray(value.columns) && Array.isArray(value.data)) return [tableOf(value.columns, value.data)];
      return [h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2))];
    } catch {
      // Shown as it is.
    }
  }
  return [h("pre", { tabindex: "0" }, text), more];
}

/** Rows of a table as text, with quotes as in RFC 4180. */
export function separated(text, mark) {
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') { cell += '"'; at += 1; } else quoted = false;
    } else if (letter === '"') quoted = true;
    else if (letter === mark) { row.push(cell.trim()); cell = ""; }
    else if (letter === "\n") { row.push(cell.trim()); rows.push(row); row = []; cell = ""; }
    else if (letter !== "\r") cell += letter;
  }
  if (cell || row.length) { row.push(cell.trim()); rows.push(row); }
  return rows;
}

function tableOf(head, rows) {
  const told = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
  const numeric = head.map((_, at) => rows.slice(0, 50).every((row) => row[at] === undefined || row[at] === "" || !Number.isNaN(Number(row[at]))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, h("table", { class: "plain tight" },
    h("thead", {}, h("tr", {}, head.map((name, at) => h("th", { scope: "col", class: numeric[at] ? "number" : null }, told(name))))),
    h("tbody", {}, rows.slice(0, ROWS).map((row) => h("tr", {}, head.map((_, at) => h("td", { class: numeric[at] ? "number" : null }, told(row[at]))))))),
  rows.length > ROWS ? h("p", { class: "muted" }, `The first ${ROWS} of ${rows.length.toLocaleString("en")} rows.`) : null);
}
