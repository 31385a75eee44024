// The log of a run, as it grows: only what is new is fetched, and the view follows its end while a person is there.

import { h, fill, button, say } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import * as api from "../lib/api.js";

const CHUNK = 524288;
const LINES = 20000;

export class Log {
  constructor(run) {
    this.run = run;
    this.size = 0;
    this.rest = "";
    this.lines = [];
    this.follow = h("input", { type: "checkbox", checked: true, onchange: () => this.toEnd() });
    this.find = h("input", { type: "search", placeholder: "Lines with…", "aria-label": "Show lines with", oninput: () => this.redraw() });
    this.told = h("span", { class: "muted" });
    this.save = h("a", { class: "button-link", download: "" }, "Download");
    this.text = h("pre", { class: "log", tabindex: "0", role: "log", "aria-label": "Log of the training", "aria-live": "off" });
    this.text.addEventListener("scroll", () => { this.follow.checked = this.text.scrollTop + this.text.clientHeight > this.text.scrollHeight - 24; }, { passive: true });
    this.place = h("div", {}, h("p", { class: "loading" }, "Loading the log…"));
    this.controls = h("div", { class: "chart-controls" }, h("label", {}, this.follow, "Follow"), this.find, this.told, this.save);
    this.element = this.place;
  }

  async locate(signal) {
    const files = (await api.artifacts(this.run, "", { signal })).filter((file) => !file.folder);
    return files.find((file) => file.path === "training.log") ?? files.find((file) => file.path.endsWith(".log")) ?? null;
  }

  /** Fetches what is new. Resolves to whether there was something. */
  async load(signal) {
    const file = await this.locate(signal);
    if (!file) {
      if (!this.path) fill(this.place, h("div", { class: "empty" }, h("h2", {}, "No log yet"), h("p", {}, "The training sends its log after each epoch and at its end.")));
      return false;
    }
    const url = api.artifactUrl(this.run, file.path);
    if (this.path !== file.path || (file.size !== null && file.size < this.size)) {
      Object.assign(this, { path: file.path, size: 0, rest: "", lines: [] });
      fill(this.place, this.controls, this.text);
      fill(this.text);
      this.save.href = url;
      this.save.download = file.path;
    }
    let grown = false;
    while (file.size === null || this.size < file.size) {
      const part = await api.text(url, { from: this.size, limit: CHUNK, signal });
      if (!part.data?.length) break;
      grown = true;
      // Letters of several bytes may be cut at the end: they come again with what follows.
      const end = part.whole ? part.data.length : part.data.lastIndexOf(10) + 1 || part.data.length;
      this.size += end;
      this.append(new TextDecoder().decode(part.data.subarray(0, end)));
      if (part.whole) break;
    }
    say(this.told, `${this.lines.length.toLocaleString("en")} lines, ${bytes(this.size)}`);
    return grown;
  }

  append(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    this.lines.push(...lines);
    if (this.lines.length > LINES) { this.lines = this.lines.slice(-LINES); this.redraw(); return; }
    this.draw(lines);
  }

  draw(lines) {
    const words = this.find.value.toLowerCase();
    const part = document.createDocumentFragment();
    for (const line of lines) {
      if (words && !line.toLowerCase().includes(words)) continue;
      const match = /^(\d{4}-\d\d-\d\dT[\d:]+Z) (\w+)\s+(.*)$/.exec(line);
      if (!match) part.append(`${line}\n`);
      else part.append(h("span", { class: "muted", title: match[1] }, match[1].slice(11, 19)), ` `, h("span", { class: `level ${match[2].toLowerCase()}` }, match[2] === "INFO" ? "" : `${match[2]} `), `${match[3]}\n`);
    }
    this.text.append(part);
    this.toEnd();
  }

  redraw() {
    fill(this.text);
    this.draw(this.lines);
  }

  toEnd() {
    if (this.follow.checked) this.text.scrollTop = this.text.scrollHeight;
  }
}
