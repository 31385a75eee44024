// The search field above the runs: words find at once, conditions go to the server; names are suggested while a condition is typed.

import { h, fill } from "../lib/dom.js";

const STARTS = /^\s*\(?\s*(?:(?:metrics?|params?|parameters?|tags?|attributes?|attr|run|datasets?)\.|(?:status|start_time|end_time|run_name|run_id|user_id|artifact_uri)\s*(?:[!=<>]|i?like\b|(?:not\s+)?in\b))/i;
const NAMING = /(metrics|params|tags)\.(`?)([^`\s=<>!]*)$/i;

/** Whether this is a condition in MLflow's language rather than words to look for. */
export const isCondition = (text) => STARTS.test(text);

/** What is wrong with a condition before the server would say so: it is not complete yet. */
export function isComplete(text) {
  return /(=|<|>|like|in)\s*('[^']*'|"[^"]*"|-?[\d.]+(e-?\d+)?|\([^)]*\))\s*\)?\s*$/i.test(text);
}

export class SearchField {
  /** `onchange(text)` on every change; `keys()` gives `{metrics, params, tags}`. */
  constructor({ onchange, keys }) {
    this.onchange = onchange;
    this.keys = keys;
    this.input = h("input", { type: "search", placeholder: "Search runs, or metrics.loss < 1", role: "combobox", "aria-expanded": "false", "aria-autocomplete": "list",
      "aria-controls": "suggestions", "aria-label": "Search runs", autocomplete: "off", spellcheck: "false", enterkeyhint: "search",
      title: "Words find runs by name, settings and tags. Conditions: metrics.`val/box_loss` < 1 and params.imgsz = '640'",
      oninput: () => { this.suggest(); this.onchange(this.input.value); },
      onkeydown: (event) => this.key(event), onblur: () => setTimeout(() => this.close(), 150) });
    this.list = h("ul", { id: "suggestions", class: "suggestions", role: "listbox", "aria-label": "Names", hidden: true });
    this.note = h("p", { class: "search-note", role: "status" });
    this.element = h("div", { class: "search" }, this.input, this.list, this.note);
    this.at = -1;
  }

  set(text) {
    if (this.input.value !== text) this.input.value = text;
  }

  tell(text, bad = false) {
    this.note.textContent = text;
    this.note.classList.toggle("bad", bad);
    this.input.setAttribute("aria-invalid", String(bad));
  }

  suggest() {
    const before = this.input.value.slice(0, this.input.selectionStart ?? this.input.value.length);
    const match = NAMING.exec(before);
    const wanted = match?.[3].toLowerCase();
    const found = match ? this.keys()[match[1].toLowerCase()].filter((key) => key.toLowerCase().includes(wanted)) : [];
    this.found = found.slice(0, 8);
    this.match = match;
    this.at = -1;
    if (this.found.length === 0) { this.close(); return; }
    fill(this.list, this.found.map((key, index) => h("li", { role: "option", id: `suggestion${index}`, "aria-selected": "false",
      onpointerdown: (event) => { event.preventDefault(); this.take(index); } }, key)));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  choose(at) {
    this.at = (at + this.found.length) % this.found.length;
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.at)));
    this.input.setAttribute("aria-activedescendant", `suggestion${this.at}`);
  }

  take(at) {
    const key = this.found[at];
    const start = this.match.index + this.match[1].length + 1;
    const end = this.match.index + this.match[0].length;
    const name = /^\w+$/.test(key) ? key : `\`${key}\``;
    const rest = this.input.value.slice(end).replace(/^`/, "");
    this.input.value = `${this.input.value.slice(0, start)}${name} ${rest.trimStart()}`;
    const caret = start + name.length + 1;
    this.input.setSelectionRange(caret, caret);
    this.close();
    this.onchange(this.input.value);
  }

  key(event) {
    if (!this.list.hidden && this.found.length) {
      if (event.key === "ArrowDown") this.choose(this.at + 1);
      else if (event.key === "ArrowUp") this.choose(this.at < 0 ? this.found.length - 1 : this.at - 1);
      else if ((event.key === "Enter" || event.key === "Tab") && this.at >= 0) this.take(this.at);
      else if (event.key === "Escape") this.close();
      else return;
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === "Escape" && this.input.value) {
      this.input.value = "";
      this.onchange("");
      event.preventDefault();
    }
  }
}
