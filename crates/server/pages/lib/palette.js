// Colours and dashes for many curves. The eight colours of style/base.css were searched for: in each theme any two differ by more than 22
// (CIELAB) with normal sight and with simulated deuteranopia, protanopia and tritanopia, and have a contrast of 3 with the ground.
// After eight curves the dashes change, so that 32 can be told apart; names are always beside them.

import { colour } from "./dom.js";

const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];
export const COLOURS = 8;

export function look(index) {
  return { name: `--c${index % COLOURS}`, dash: DASHES[Math.floor(index / COLOURS) % DASHES.length] };
}

/** Resolved for the canvas; asked for again when the theme changes. */
export const resolved = (name) => colour(name);
