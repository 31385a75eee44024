// Pictures: series with a slider for their step, files beside them, each large on a click.

import { h, fill, button, say, announce } from "../lib/dom.js";
import * as api from "../lib/api.js";
import * as images from "../lib/images.js";
import * as route from "../lib/route.js";

export class Gallery {
  constructor(run) {
    this.run = run;
    this.slider = h("input", { type: "range", min: "0", step: "1", "aria-label": "Step", oninput: () => this.slide() });
    this.told = h("output", {}, "");
    this.controls = h("div", { class: "chart-controls", hidden: true }, h("label", {}, "Step", this.slider), this.told,
      button("Step before", () => this.move(-1), { glyph: "left", kind: "small", iconOnly: true }), button("Step after", () => this.move(1), { glyph: "right", kind: "small", iconOnly: true }));
    this.place = h("div", { class: "gallery" }, h("p", { class: "loading" }, "Loading the pictures…"));
    this.element = h("div", {}, this.controls, this.place);
    this.figures = new Map();
  }

  async load(signal) {
    const { series, pictures } = await images.load(this.run, signal);
    const key = JSON.stringify([series, pictures]);
    if (key === this.held) return false;
    this.held = key;
    Object.assign(this, { series, pictures });
    const followed = !this.steps || this.at === this.steps.length - 1;
    this.steps = [...new Set(series.flatMap((one) => one.steps.map(({ step }) => step)))].sort((a, b) => a - b);
    // A person at the latest step stays there as new ones arrive.
    if (followed && this.wanted === undefined) this.at = this.steps.length - 1;
    this.draw();
    return true;
  }

  read(query) {
    this.wanted = query.has("step") ? Number(query.get("step")) : undefined;
    if (this.steps) this.draw();
  }

  draw() {
    if (this.wanted !== undefined) this.at = Math.max(0, this.steps.findLastIndex((step) => step <= this.wanted));
    this.at = Math.min(Math.max(this.at ?? 0, 0), Math.max(0, this.steps.length - 1));
    this.controls.hidden = this.steps.length < 2;
    this.slider.max = String(Math.max(0, this.steps.length - 1));
    this.slider.value = String(this.at);
    if (!this.series.length && !this.pictures.length) {
      fill(this.place, h("div", { class: "empty" }, h("h2", {}, "No pictures"), h("p", {}, "A training logs labelled batches as it goes and its curves at the end; with plots=false it draws none.")));
      return;
    }
    fill(this.place, this.series.length ? h("section", {}, h("h2", {}, "As the training went"), h("div", { class: "pictures" }, this.series.map((one) => this.seriesFigure(one)))) : null,
      this.pictures.length ? h("section", {}, h("h2", {}, "Results"), h("div", { class: "pictures" }, this.pictures.map((file) => this.fileFigure(file)))) : null);
    this.shift();
  }

  seriesFigure(series) {
    const image = h("img", { alt: "", loading: "lazy", decoding: "async" });
    const step = h("span", { class: "muted" });
    const figure = h("figure", {}, h("button", { type: "button", class: "picture", onclick: () => this.enlarge(series) }, image), h("figcaption", {}, h("span", {}, series.key), step));
    this.figures.set(series.key, { image, step, figure });
    return figure;
  }

  fileFigure(file) {
    const url = api.artifactUrl(this.run, file.path);
    return h("figure", {}, h("button", { type: "button", class: "picture", onclick: () => lightbox([{ url, title: file.path }], 0) },
      h("img", { src: url, alt: file.path, loading: "lazy", decoding: "async" })), h("figcaption", {}, h("span", {}, file.path)));
  }

  shift() {
    const step = this.steps[this.at];
    say(this.told, this.steps.length ? `${step} of ${this.steps[this.steps.length - 1]}` : "");
    this.slider.setAttribute("aria-valuetext", `step ${step}`);
    for (const series of this.series) {
      const { image, step: note } = this.figures.get(series.key);
      const shown = images.at(series, step);
      const url = api.artifactUrl(this.run, shown.small ?? shown.full);
      if (image.src !== url) image.src = url;
      image.alt = `${series.key} at step ${shown.step}`;
      say(note, `step ${shown.step}`);
    }
  }

  slide() {
    this.at = Number(this.slider.value);
    this.wanted = undefined;
    route.patch({ step: this.at === this.steps.length - 1 ? null : String(this.steps[this.at]) });
    this.shift();
  }

  move(by) {
    this.slider.value = String(Math.min(Math.max(this.at + by, 0), this.steps.length - 1));
    this.slide();
  }

  enlarge(series) {
    const shown = images.at(series, this.steps[this.at]);
    lightbox(series.steps.map((one) => ({ url: api.artifactUrl(this.run, one.full ?? one.small), title: `${series.key}, step ${one.step}` })), series.steps.indexOf(shown));
  }
}

/** One picture over the whole window; arrow keys and buttons go through `pictures`. */
export function lightbox(pictures, start) {
  let at = start;
  const image = h("img", { alt: "" });
  const title = h("h2", {});
  const save = h("a", { class: "button-link", download: "" }, "Download");
  const show = (next) => {
    at = Math.min(Math.max(next, 0), pictures.length - 1);
    const { url, title: text } = pictures[at];
    image.src = url;
    image.alt = text;
    say(title, text);
    save.href = url;
    before.disabled = at === 0;
    after.disabled = at === pictures.length - 1;
    dialog.setAttribute("aria-label", text);
  };
  const before = button("Before", () => { show(at - 1); announce(pictures[at].title); }, { glyph: "left", kind: "quiet", iconOnly: true, hidden: pictures.length < 2 });
  const after = button("After", () => { show(at + 1); announce(pictures[at].title); }, { glyph: "right", kind: "quiet", iconOnly: true, hidden: pictures.length < 2 });
  const real = button("Real size", () => dialog.classList.toggle("real"), { glyph: "expand", kind: "quiet", iconOnly: true });
  const dialog = h("dialog", { class: "lightbox", onclose: () => dialog.remove(), onclick: (event) => { if (event.target === dialog) dialog.close(); },
    onkeydown: (event) => {
      if (event.key === "ArrowLeft") before.disabled || before.click();
      else if (event.key === "ArrowRight") after.disabled || after.click();
      else return;
      event.preventDefault();
    } },
  h("div", { class: "sheet" }, h("header", {}, title, h("div", { class: "row" }, save, before, after, real, button("Close", () => dialog.close(), { glyph: "close", kind: "quiet", iconOnly: true }))),
    h("div", { class: "lightbox-body", tabindex: "0" }, image)));
  document.body.append(dialog);
  show(at);
  dialog.showModal();
}
