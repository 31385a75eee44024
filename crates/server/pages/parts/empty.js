// What an empty page says: the command that fills it.

import { h, button } from "../lib/dom.js";
import { toast } from "./dialog.js";

/** A command with a button that copies it. */
export function command(text) {
  return h("div", { class: "command" }, h("code", {}, text), button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied");
    } catch {
      toast("The browser does not let pages copy here: select the text instead.", { kind: "bad" });
    }
  }, { glyph: "copy", kind: "quiet", iconOnly: true }));
}

const server = () => location.origin + location.pathname.replace(/\/$/, "");

export const firstRun = () => h("div", { class: "empty" }, h("h2", {}, "No runs yet"), h("p", {}, "Start a training that is tracked here:"),
  command(`MLFLOW_TRACKING_URI=${server()} yolo11 train data=demo`),
  h("p", { class: "muted" }, "It appears here by itself. Runs that were trained without a server are sent with:"), command(`MLFLOW_TRACKING_URI=${server()} yolo11 tracking sync runs/train`));

export const firstModel = () => h("div", { class: "empty" }, h("h2", {}, "No models yet"), h("p", {}, "A training registers its best weights when you name a model:"),
  command(`MLFLOW_TRACKING_URI=${server()} yolo11 train data=demo mlflow.register=detector`),
  h("p", { class: "muted" }, "Each training makes a version; the alias champion goes to the highest mAP50-95."));
