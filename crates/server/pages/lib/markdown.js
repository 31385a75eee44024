// Notes: a small, safe part of Markdown, made into elements. Nothing in it can become markup, a script or a link to anything but the web.

import { h } from "./dom.js";

const INLINE = /(`[^`]+`)|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?])/g;

function inline(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) parts.push(text.slice(at, match.index));
    const [whole, code, strong, em, label, target, bare] = match;
    if (code) parts.push(h("code", {}, code.slice(1, -1)));
    else if (strong) parts.push(h("strong", {}, strong));
    else if (em) parts.push(h("em", {}, em));
    else parts.push(h("a", { href: target ?? bare, target: "_blank", rel: "noopener noreferrer nofollow" }, label ?? bare));
    at = match.index + whole.length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

/** Paragraphs, headings, lists, quotes and code blocks, as elements. */
export function markdown(source) {
  const lines = source.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  let index = 0;
  const take = (test) => {
    const taken = [];
    while (index < lines.length && test(lines[index])) taken.push(lines[index++]);
    return taken;
  };
  while (index < lines.length) {
    const line = lines[index];
    if (/^\s*$/.test(line)) { index += 1; continue; }
    if (line.startsWith("```")) {
      index += 1;
      const code = take((other) => !other.startsWith("```"));
      index += 1;
      blocks.push(h("pre", {}, h("code", {}, code.join("\n"))));
      continue;
    }
    const heading = /^(#{1,4})\s+(.*)$/.exec(line);
    if (heading) {
      index += 1;
      // The page's own headings come above those of a note.
      blocks.push(h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])));
    } else if (/^\s*[-*]\s+/.test(line)) {
      blocks.push(h("ul", {}, take((other) => /^\s*[-*]\s+/.test(other)).map((item) => h("li", {}, inline(item.replace(/^\s*[-*]\s+/, ""))))));
    } else if (/^\s*\d+[.)]\s+/.test(line)) {
      blocks.push(h("ol", {}, take((other) => /^\s*\d+[.)]\s+/.test(other)).map((item) => h("li", {}, inline(item.replace(/^\s*\d+[.)]\s+/, ""))))));
    } else if (line.startsWith(">")) {
      blocks.push(h("blockquote", {}, inline(take((other) => other.startsWith(">")).map((other) => other.replace(/^>\s?/, "")).join("\n"))));
    } else {
      const text = take((other) => !/^\s*$/.test(other) && !/^(```|#{1,4}\s|>|\s*[-*]\s|\s*\d+[.)]\s)/.test(other));
      if (text.length === 0) { text.push(line); index += 1; }
      blocks.push(h("p", {}, text.flatMap((part, place) => (place ? [h("br"), ...inline(part)] : inline(part)))));
    }
  }
  return blocks;
}
