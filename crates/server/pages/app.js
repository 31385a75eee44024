// Starts the pages: which one the address means, the theme, the shortcuts that hold everywhere.

import { fill, icon, h, set } from "./lib/dom.js";
import { keep, load } from "./lib/prefs.js";
import * as route from "./lib/route.js";
import { session, signOut } from "./lib/session.js";
import { attempt, open } from "./parts/dialog.js";
import { RunsPage } from "./pages/runs.js";
import { RunPage } from "./pages/run.js";
import { ComparePage } from "./pages/compare.js";
import { ModelPage, ModelsPage } from "./pages/models.js";
import { SignInPage } from "./pages/signin.js";

const main = document.getElementById("main");
let page = null;
let key = null;
let login = { needed: false };

/** Which page an address means; `key` tells pages apart, everything else is state within one. */
function resolve({ path, query }) {
  if (login.needed && !login.user) return { key: "sign in", section: null, make: () => new SignInPage(main, login, signedIn) };
  const [first, second, third, fourth] = path;
  if (first === "experiments" && third === "runs" && fourth) return { key: `run ${fourth}`, section: "runs", make: () => new RunPage(main, fourth) };
  if (first === "runs" && second) return { key: `run ${second}`, section: "runs", make: () => new RunPage(main, second) };
  if (first === "compare" || first === "compare-runs") return { key: `compare ${query.get("runs")}`, section: "runs", make: () => new ComparePage(main) };
  if (first === "models" && second) return { key: `model ${second}`, section: "models", make: () => new ModelPage(main, second) };
  if (first === "models") return { key: "models", section: "models", make: () => new ModelsPage(main) };
  return { key: "runs", section: "runs", make: () => new RunsPage(main) };
}

function follow() {
  const now = route.current();
  const found = resolve(now);
  if (found.key === key) {
    page.update(now);
    return;
  }
  const first = key === null;
  page?.destroy();
  key = found.key;
  document.querySelectorAll("header nav a").forEach((link) => set(link, { "aria-current": link.dataset.page === found.section ? "page" : null }));
  fill(main);
  main.className = "";
  page = found.make();
  page.update(now);
  scrollTo(0, 0);
  // After a step to another page the keyboard starts at its beginning; on the first page it is the browser's.
  if (!first) main.focus({ preventScroll: true });
}

/** A token is nobody's: whoever signed in with one has no name here. */
function signedIn(user) {
  login = { ...login, user: user || "a token" };
  const out = document.getElementById("sign-out");
  fill(out, icon("out"), h("span", {}, "Sign out"));
  out.hidden = false;
  set(out, { title: `Signed in as ${login.user}` });
  follow();
}

function signedOut() {
  if (!login.needed || !login.user) return;
  login = { ...login, user: null };
  document.getElementById("sign-out").hidden = true;
  follow();
}

const THEMES = { system: { next: "light", glyph: "half", text: "Theme: as the system" }, light: { next: "dark", glyph: "sun", text: "Theme: light" }, dark: { next: "system", glyph: "moon", text: "Theme: dark" } };

function theme(name) {
  const chosen = THEMES[name] ? name : "system";
  document.documentElement.dataset.theme = chosen;
  const control = document.getElementById("theme");
  fill(control, icon(THEMES[chosen].glyph));
  set(control, { "aria-label": THEMES[chosen].text, title: THEMES[chosen].text });
  dispatchEvent(new Event("theme"));
  return chosen;
}

const SHORTCUTS = [
  ["Everywhere", [["g r", "Runs"], ["g m", "Models"], ["t", "Theme"], ["?", "This list"]]],
  ["Runs", [["/", "Search"], ["↑ ↓ Page Home End", "Move in the table"], ["Space", "Select"], ["Shift ↑ ↓", "Select several"], ["Enter", "Open"], ["c", "Compare what is selected"], ["k", "Columns"], ["e", "Group by experiment"], ["Delete", "Delete what is selected"]]],
  ["Run and comparison", [["1 … 6", "The tabs"], ["l", "Log scale"], ["x", "Steps or time"], ["n", "Edit the notes"]]],
  ["In a chart", [["← →", "Read values"], ["+ −", "Zoom"], ["0 Esc", "All of the curve"], ["drag", "Zoom into a stretch"], ["Ctrl wheel", "Zoom at the pointer"]]],
  ["In a picture", [["← →", "Step before, after"], ["Esc", "Close"]]],
];

function shortcuts() {
  if (document.querySelector("dialog[open]")) return;
  open({ title: "Keyboard shortcuts", wide: true, body: h("div", { class: "shortcuts" }, SHORTCUTS.map(([title, keys]) =>
    h("section", {}, h("h3", {}, title), h("dl", {}, keys.map(([name, text]) => h("div", {}, h("dt", {}, name.split(" ").map((one) => [h("kbd", {}, one), " "])), h("dd", {}, text))))))) });
}

let leader = false;

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (login.needed && !login.user) return;
  const typing = event.target.closest?.("input:not([type=checkbox]):not([type=range]), textarea, select");
  if (typing) return;
  if (leader) {
    leader = false;
    if (event.key === "r") route.go("#/");
    else if (event.key === "m") route.go("#/models");
    return;
  }
  if (event.key === "g") { leader = true; setTimeout(() => { leader = false; }, 1200); }
  else if (event.key === "?") shortcuts();
  else if (event.key === "t") keep("theme", theme(THEMES[document.documentElement.dataset.theme].next));
  else if (page?.key?.(event)) event.preventDefault();
});

theme(load("theme", "system"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));
document.getElementById("theme").addEventListener("click", () => keep("theme", theme(THEMES[document.documentElement.dataset.theme].next)));
document.getElementById("help").addEventListener("click", shortcuts);
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.getElementById("sign-out").addEventListener("click", async () => { if (await attempt(signOut, "Not signed out")) signedOut(); });
addEventListener("signed-out", signedOut);
addEventListener("hashchange", follow);
login = await session();
if (login.user !== null && login.user !== undefined) signedIn(login.user);
else follow();
