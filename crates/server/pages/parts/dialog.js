// Windows over the page, and short notes at its foot.

import { h, fill, button } from "../lib/dom.js";

/** A modal window; closed by Escape, its cross, or a click beside it. Focus goes back to where it was. */
export function open({ title, body, actions = [], wide = false, onclose = null }) {
  const close = () => dialog.close();
  const dialog = h("dialog", { class: wide ? "wide" : null, "aria-label": title,
    onclick: (event) => { if (event.target === dialog) close(); },
    onclose: () => { dialog.remove(); onclose?.(); } },
  h("div", { class: "sheet" },
    h("header", {}, h("h2", {}, title), button("Close", close, { glyph: "close", kind: "quiet", iconOnly: true })),
    h("div", { class: "sheet-body" }, body),
    actions.length ? h("footer", {}, actions.map(({ text, run, kind = "", type = "button" }) =>
      button(text, async () => { if ((await run?.()) !== false) close(); }, { kind, type }))) : null));
  document.body.append(dialog);
  dialog.showModal();
  return { close, dialog };
}

/** Asks before something is done; resolves to whether it was agreed to. */
export function ask({ title, text, agree, kind = "danger" }) {
  return new Promise((resolve) => {
    let agreed = false;
    open({ title, body: h("p", {}, text), onclose: () => resolve(agreed),
      actions: [{ text: "Cancel", kind: "quiet" }, { text: agree, kind, run: () => { agreed = true; } }] });
  });
}

/** Asks for one line of text; resolves to null where it was not given. */
export function askText({ title, text, name, value = "", agree = "Save" }) {
  return new Promise((resolve) => {
    let given = null;
    const input = h("input", { type: "text", value, name, "aria-label": name, autocomplete: "off" });
    const form = h("form", { onsubmit: (event) => { event.preventDefault(); given = input.value.trim(); sheet.close(); } },
      text ? h("p", {}, text) : null, h("label", {}, h("span", {}, name), input));
    const sheet = open({ title, body: form, onclose: () => resolve(given),
      actions: [{ text: "Cancel", kind: "quiet" }, { text: agree, kind: "primary", run: () => { given = input.value.trim(); } }] });
    input.focus();
    input.select();
  });
}

export function toast(text, { action = null, run = null, kind = "" } = {}) {
  const place = document.getElementById("toasts");
  const note = h("div", { class: `toast ${kind}` }, h("span", {}, text));
  const gone = () => note.remove();
  const timer = setTimeout(gone, action ? 12000 : 5000);
  if (action) note.append(button(action, () => { clearTimeout(timer); gone(); run(); }));
  note.append(button("Dismiss", () => { clearTimeout(timer); gone(); }, { glyph: "close", kind: "quiet", iconOnly: true }));
  place.append(note);
  while (place.childElementCount > 3) place.firstElementChild.remove();
}

/** Runs what a click asks for and says what went wrong. Resolves to whether it worked. */
export async function attempt(work, doing) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    toast(`${doing}: ${error.message}`, { kind: "bad" });
    return false;
  }
}

/** What stands where something could not be shown, with a way to try again. */
export function failure(place, error, again) {
  fill(place, h("div", { class: "empty", role: "alert" },
    h("h2", {}, error.status === 404 ? "Not found" : error.isGone ? "The server does not answer" : "This could not be shown"),
    h("p", {}, error.message), again ? button("Try again", again) : null));
}
