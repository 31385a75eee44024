// From values to pixels, and the round numbers beside an axis.

export function linear(low, high, start, end) {
  const span = high - low || 1;
  return {
    at: (value) => start + ((value - low) / span) * (end - start),
    back: (pixel) => low + ((pixel - start) / (end - start)) * span,
    low, high,
  };
}

export function logarithmic(low, high, start, end) {
  const inner = linear(Math.log10(low), Math.log10(high), start, end);
  return { at: (value) => inner.at(Math.log10(value)), back: (pixel) => 10 ** inner.back(pixel), low, high };
}

/** About `wanted` round values between the ends: steps of 1, 2 or 5 times a power of ten. */
export function ticks(low, high, wanted, whole = false) {
  if (!(high > low)) return [low];
  const raw = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) ?? 10);
  if (whole) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let at = first; at * step <= high + step * 1e-9 && found.length < 50; at += 1) found.push(Number((at * step).toPrecision(12)));
  return found;
}

/** Powers of ten, with 2 and 5 between where there are few. */
export function logTicks(low, high) {
  const found = [];
  const factors = Math.log10(high / low) < 2.5 ? [1, 2, 5] : [1];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low * 0.9999 && value <= high * 1.0001) found.push(value);
    }
  }
  const every = Math.ceil(found.length / 8);
  return found.filter((_, index) => index % every === 0);
}

/** Labels of one axis, all with as many decimals as its steps need. */
export function label(value, step) {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1e6) return `${trim((value / 1e6).toFixed(2))}M`;
  if (size >= 10000) return `${trim((value / 1e3).toFixed(1))}k`;
  if (size < 1e-4) return value.toExponential(0).replace("e-", "e−");
  const decimals = step > 0 ? Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9))) : 4;
  return value.toFixed(decimals).replace("-", "−");
}

const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

/** Seconds since the start, as people say them. */
export function elapsedLabel(seconds) {
  const size = Math.abs(seconds);
  if (size < 60) return `${trim(seconds.toFixed(1))} s`;
  if (size < 3600) return `${trim((seconds / 60).toFixed(1))} min`;
  if (size < 172800) return `${trim((seconds / 3600).toFixed(1))} h`;
  return `${trim((seconds / 86400).toFixed(1))} d`;
}

export function elapsedTicks(low, high, wanted) {
  const units = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
  const raw = (high - low) / Math.max(1, wanted);
  if (raw < 1) return ticks(low, high, wanted);
  const step = units.find((unit) => unit >= raw) ?? Math.ceil(raw / 604800) * 604800;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(at);
  return found;
}
