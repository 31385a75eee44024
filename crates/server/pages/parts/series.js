// What happens to a curve between its points and its pixels: smoothing and thinning.

/** Exponential moving average with the start's bias taken out (as Adam does): the first value is the first point. Gaps stay gaps. */
export function smooth(values, weight) {
  if (!(weight > 0)) return values;
  const found = new Array(values.length);
  let mean = 0;
  let mass = 0;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index];
    if (Number.isFinite(value)) {
      mean = weight * mean + (1 - weight) * value;
      mass = weight * mass + (1 - weight);
    }
    found[index] = Number.isFinite(value) ? mean / mass : NaN;
  }
  return found;
}

/** First index with `xs[index] >= x`. */
export function lowerBound(xs, x) {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the point nearest to x; -1 without points. */
export function nearest(xs, x) {
  if (xs.length === 0) return -1;
  const at = lowerBound(xs, x);
  if (at === 0) return 0;
  if (at === xs.length) return xs.length - 1;
  return x - xs[at - 1] <= xs[at] - x ? at - 1 : at;
}

/** Indices that draw the same picture on `columns` pixels: of each column the first, lowest, highest and last point. */
export function thin(xs, ys, from, to, columns) {
  const start = Math.max(0, lowerBound(xs, from) - 1);
  const end = Math.min(xs.length, lowerBound(xs, to) + 1);
  if (end - start <= columns * 4) {
    return Array.from({ length: end - start }, (_, index) => start + index);
  }
  const kept = [];
  const width = (to - from) / columns;
  let index = start;
  while (index < end) {
    const column = Math.floor((xs[index] - from) / width);
    let low = index;
    let high = index;
    let last = index;
    const first = index;
    while (index < end && Math.floor((xs[index] - from) / width) === column) {
      if (ys[index] < ys[low] || Number.isNaN(ys[low])) low = index;
      if (ys[index] > ys[high] || Number.isNaN(ys[high])) high = index;
      last = index;
      index += 1;
    }
    for (const at of [...new Set([first, low, high, last])].sort((a, b) => a - b)) kept.push(at);
  }
  return kept;
}
