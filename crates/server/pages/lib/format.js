// Numbers, times and sizes as they are shown, everywhere the same.

/** A figure: four decimals up to 10, fewer above, powers of ten below a thousandth. */
export function figure(value) {
  if (value === null || value === undefined) return "";
  if (Number.isNaN(value)) return "NaN";
  if (Math.abs(value) > 1e308) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (value === 0) text = "0";
  else if (Number.isInteger(value) && size < 1e15) text = size < 10000 ? String(value) : value.toLocaleString("en");
  else if (size >= 10000) text = Math.round(value).toLocaleString("en");
  else if (size >= 1000) text = value.toFixed(1);
  else if (size >= 100) text = value.toFixed(2);
  else if (size >= 10) text = value.toFixed(3);
  else if (size >= 0.001) text = value.toFixed(4);
  else text = value.toExponential(2);
  return text.replace("-", "−").replace("e−", "e−").replace("e-", "e−").replace("e+", "e");
}

export function count(value, noun) {
  return `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : noun.endsWith("s") ? "" : "s"}`;
}

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, "0");
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${hours} h ${two(Math.floor((seconds % 3600) / 60))} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Shorter, for what is still to come: nobody needs its seconds. */
export function about(milliseconds) {
  const minutes = milliseconds / 60000;
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return `about ${Math.round(minutes)} min`;
  if (minutes < 48 * 60) return `about ${Math.floor(minutes / 60)} h ${Math.round(minutes % 60)} min`;
  return `about ${Math.round(minutes / 1440)} days`;
}

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function when(milliseconds, now = Date.now()) {
  if (!milliseconds) return "";
  const date = new Date(milliseconds);
  const today = new Date(now);
  if (date.toDateString() === today.toDateString()) return CLOCK.format(date);
  if (date.getFullYear() === today.getFullYear()) return `${DAY.format(date)} ${CLOCK.format(date)}`;
  return YEAR.format(date);
}

export function fullTime(milliseconds) {
  return milliseconds ? FULL.format(new Date(milliseconds)) : "";
}

export function clock(milliseconds) {
  return CLOCK.format(new Date(milliseconds));
}

export function bytes(size) {
  if (size === null || size === undefined) return "";
  if (size < 1000) return `${size} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = size;
  let unit = -1;
  do { value /= 1000; unit += 1; } while (value >= 999.5 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** The last part of a name, for a heading whose group is told beside it. */
export function shortKey(key) {
  return key.replace(/^(metrics|params|tags)\//, "");
}
