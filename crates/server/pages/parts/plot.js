// Draws curves on a canvas: axes, lines, the cursor. No state, no listeners.

import { linear, logarithmic, ticks, logTicks, label, elapsedLabel, elapsedTicks } from "./scale.js";
import { lowerBound, thin } from "./series.js";
import { resolved } from "../lib/palette.js";

/** Lowest and highest finite value of the curves between two places on x; null without any. */
export function range(series, from, to, log) {
  let low = Infinity;
  let high = -Infinity;
  for (const one of series) {
    if (one.off) continue;
    for (const ys of one.smoothed === one.ys ? [one.ys] : [one.ys, one.smoothed]) {
      const end = Math.min(one.xs.length, lowerBound(one.xs, to) + 1);
      for (let index = Math.max(0, lowerBound(one.xs, from) - 1); index < end; index += 1) {
        const value = ys[index];
        if (!Number.isFinite(value) || Math.abs(value) > 1e300 || (log && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
  }
  return low <= high ? [low, high] : null;
}

export function extent(series) {
  let low = Infinity;
  let high = -Infinity;
  for (const { xs } of series) {
    if (xs.length === 0) continue;
    low = Math.min(low, xs[0]);
    high = Math.max(high, xs[xs.length - 1]);
  }
  return low <= high ? [low, high] : null;
}

/** Room around the values, so that no curve lies on the frame. */
function padded([low, high], log) {
  if (log) {
    const room = Math.max(Math.log10(high / low) * 0.06, 0.02);
    return [low / 10 ** room, high * 10 ** room];
  }
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  // Losses and shares begin at 0: the eye expects that line where it is near.
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
}

/** Draws, and returns the scales and the box of the plot; null where there is nothing to draw. */
export function draw(canvas, width, height, { series, view, log, time, cursor }) {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const whole = view && range(series, view[0], view[1], log);
  if (!whole) return null;
  pen.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  const [low, high] = padded(whole, log);
  const yTicks = log ? logTicks(low, high) : ticks(low, high, Math.max(2, Math.round(height / 48)));
  const yStep = yTicks.length > 1 ? yTicks[1] - yTicks[0] : Math.abs(high - low) / 4;
  const yLabels = yTicks.map((value) => label(value, log ? value : yStep));
  const margin = Math.ceil(Math.max(24, ...yLabels.map((text) => pen.measureText(text).width))) + 10;
  const box = { left: margin, right: width - 10, top: 8, bottom: height - 22 };
  const x = linear(view[0], view[1] > view[0] ? view[1] : view[0] + 1, box.left, box.right);
  const y = (log ? logarithmic : linear)(low, high, box.bottom, box.top);
  axes(pen, box, x, y, yTicks, yLabels, time);
  pen.save();
  pen.beginPath();
  pen.rect(box.left, box.top - 2, box.right - box.left, box.bottom - box.top + 4);
  pen.clip();
  const columns = Math.max(50, Math.round(box.right - box.left));
  const strong = series.filter((one) => !one.off);
  for (const one of strong) {
    if (one.smoothed !== one.ys) line(pen, one, one.ys, x, y, columns, log, { alpha: 0.22, width: 1 });
  }
  for (const one of strong) line(pen, one, one.smoothed, x, y, columns, log, { alpha: one.faint ? 0.25 : 1, width: one.strong ? 2.5 : 1.6 });
  pen.restore();
  if (cursor !== null && cursor !== undefined) mark(pen, box, x, y, cursor, strong, log);
  return { x, y, box };
}

function axes(pen, box, x, y, yTicks, yLabels, time) {
  const ink = resolved("--muted");
  pen.strokeStyle = resolved("--grid");
  pen.fillStyle = ink;
  pen.lineWidth = 1;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  yTicks.forEach((value, index) => {
    const at = Math.round(y.at(value)) + 0.5;
    if (at < box.top - 1 || at > box.bottom + 1) return;
    pen.beginPath();
    pen.moveTo(box.left, at);
    pen.lineTo(box.right, at);
    pen.stroke();
    pen.fillText(yLabels[index], box.left - 6, at);
  });
  const wanted = Math.max(2, Math.round((box.right - box.left) / 90));
  const xTicks = time ? elapsedTicks(x.low, x.high, wanted) : ticks(x.low, x.high, wanted, true);
  const step = xTicks.length > 1 ? xTicks[1] - xTicks[0] : 1;
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const value of xTicks) {
    const text = time ? elapsedLabel(value) : label(value, step);
    const half = pen.measureText(text).width / 2;
    const at = Math.min(Math.max(x.at(value), box.left + half - 4), box.right - half + 8);
    pen.fillText(text, at, box.bottom + 7);
  }
}

function line(pen, one, ys, x, y, columns, log, { alpha, width }) {
  pen.strokeStyle = resolved(one.look.name);
  pen.fillStyle = pen.strokeStyle;
  pen.globalAlpha = alpha;
  pen.lineWidth = width;
  pen.lineJoin = "round";
  pen.setLineDash(one.look.dash);
  pen.beginPath();
  let drawing = false;
  let alone = null;
  const dots = [];
  const indices = thin(one.xs, ys, x.low, x.high, columns);
  for (const index of indices) {
    const value = ys[index];
    if (!Number.isFinite(value) || Math.abs(value) > 1e300 || (log && value <= 0)) {
      if (alone) dots.push(alone);
      drawing = false;
      alone = null;
      continue;
    }
    const place = [x.at(one.xs[index]), y.at(value)];
    if (drawing) {
      pen.lineTo(...place);
      alone = null;
    } else {
      pen.moveTo(...place);
      alone = place;
    }
    drawing = true;
  }
  if (alone) dots.push(alone);
  pen.stroke();
  pen.setLineDash([]);
  // A point without neighbours would be invisible as a line.
  for (const [left, top] of dots) {
    pen.beginPath();
    pen.arc(left, top, 3, 0, 7);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function mark(pen, box, x, y, cursor, series, log) {
  const left = Math.round(x.at(cursor.x)) + 0.5;
  if (left < box.left || left > box.right) return;
  pen.strokeStyle = resolved("--muted");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(left, box.top);
  pen.lineTo(left, box.bottom);
  pen.stroke();
  for (const one of series) {
    const index = cursor.indices.get(one.id);
    const value = index === undefined ? NaN : one.smoothed[index];
    if (!Number.isFinite(value) || (log && value <= 0)) continue;
    pen.fillStyle = resolved(one.look.name);
    pen.beginPath();
    pen.arc(x.at(one.xs[index]), y.at(value), 3.5, 0, 7);
    pen.fill();
  }
}
