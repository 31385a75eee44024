// Notes, shown as a safe part of Markdown, written in place.

import { h, fill, button } from "../lib/dom.js";
import { markdown } from "../lib/markdown.js";
import { attempt } from "./dialog.js";

export class Notes {
  /** `save(text)` keeps them; `empty`: what stands where there are none. */
  constructor({ title = "Notes", save, empty = "What is this run about? What did it show?" }) {
    Object.assign(this, { save, empty });
    this.body = h("div", { class: "note-body" });
    this.control = button("Edit", () => this.edit(), { glyph: "edit", kind: "quiet small" });
    this.element = h("section", { class: "notes" }, h("header", {}, h("h2", {}, title), this.control), this.body);
    this.text = "";
  }

  show(text) {
    if (this.editing || (this.drawn && text === this.text)) return;
    this.text = text;
    this.drawn = true;
    this.control.hidden = false;
    fill(this.body, text ? markdown(text) : h("p", { class: "muted" }, this.empty));
  }

  edit() {
    if (this.editing) return;
    this.editing = true;
    this.control.hidden = true;
    const area = h("textarea", { rows: "8", value: this.text, "aria-label": "Notes", maxlength: "8000",
      onkeydown: (event) => {
        if (event.key === "Escape") done(this.text);
        else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) keep();
      } });
    const done = (text) => { this.editing = false; this.drawn = false; this.show(text); this.control.focus(); };
    const keep = async () => { const text = area.value.trim(); if (await attempt(() => this.save(text), "Not saved")) done(text); };
    fill(this.body, area, h("p", { class: "muted small-print" }, "**bold**, *italic*, `code`, # heading, - list, [link](https://…). Ctrl Enter saves."),
      h("div", { class: "row" }, button("Save", keep, { kind: "primary" }), button("Cancel", () => done(this.text), { kind: "quiet" })));
    area.focus();
  }
}
