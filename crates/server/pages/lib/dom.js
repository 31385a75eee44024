// Elements are made by hand: what users wrote reaches the page as text only, never as markup.

/** An element with attributes, listeners (`onclick: f`), properties that have no attribute, and children (text, nodes, lists, null). */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  set(element, attributes ?? {});
  append(element, children);
  return element;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "indeterminate", "hidden", "selected", "open"]);

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child);
  }
}

export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Text is only written where it changed, so that selections and screen readers are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const ICONS = {
  up: "M8 12V4M4.5 7.5 8 4l3.5 3.5",
  down: "M8 4v8M4.5 8.5 8 12l3.5-3.5",
  left: "M10 3.5 5.5 8l4.5 4.5",
  right: "M6 3.5 10.5 8 6 12.5",
  close: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  reset: "M3.5 8a4.5 4.5 0 1 0 1.4-3.2M3.5 2.5V5H6",
  table: "M2.5 3.5h11v9h-11zM2.5 6.5h11M2.5 9.5h11M6.5 3.5v9",
  columns: "M2.5 3.5h11v9h-11zM6.2 3.5v9M9.8 3.5v9",
  download: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.2h10",
  folder: "M2 4.5h4l1.3 1.5H14v6.5H2z",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  image: "M2.5 3.5h11v9h-11zM4.5 10.8 7 7.5l2 2.2 1.2-1.2 1.8 2.3",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M3.4 12.6l1.1-1.1M11.5 4.5l1.1-1.1",
  moon: "M12.8 9.6A5.3 5.3 0 0 1 6.4 3.2a5.3 5.3 0 1 0 6.4 6.4z",
  half: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  edit: "M3 13l.6-2.8 7-7 2.2 2.2-7 7zM9.4 4.4l2.2 2.2",
  copy: "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
  expand: "M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5 9.3 6.7M2.5 13.5l4.2-4.2",
  out: "M6.5 2.5h-4v11h4M10 5l3 3-3 3M13 8H6",
  group: "M2.5 3.5h11M5 6.5h8.5M5 9.5h8.5M2.5 12.5h11",
  trash: "M3 4.5h10M6.5 4V2.8h3V4M4.5 4.5l.6 8.7h5.8l.6-8.7",
};

/** A small drawing of one path, which says nothing: what it stands for is written beside it. */
export function stroke(kind, box, line) {
  const make = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const svg = make("svg", { viewBox: box, "aria-hidden": "true", class: kind });
  svg.append(make("path", { d: line }));
  return svg;
}

export const icon = (name) => stroke("glyph", "0 0 16 16", ICONS[name]);

/** A button; `label` is its text, or with an icon what it is called. */
export function button(label, onclick, { glyph = null, kind = "", title = null, ...more } = {}) {
  const only = glyph && more.iconOnly;
  delete more.iconOnly;
  return h("button", { type: "button", class: `${kind}${only ? " icon" : ""}`.trim() || null, onclick,
    "aria-label": only ? label : null, title: title ?? (only ? label : null), ...more },
  glyph && icon(glyph), only ? null : h("span", {}, label));
}

/** Tells a screen reader something that the eye sees anyway. */
export function announce(text) {
  const place = document.getElementById("spoken");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}

/** The colour behind a custom property, as the canvas takes it, in the theme of now. */
export function colour(name) {
  const probe = document.getElementById("spoken");
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.style.color = "";
  return found;
}
