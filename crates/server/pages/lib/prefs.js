// What a person has chosen and keeps between visits. Never needed: a browser that keeps nothing is served as well.

export function load(name, fallback) {
  try {
    const text = localStorage.getItem(`yolo11.${name}`);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(`yolo11.${name}`);
    else localStorage.setItem(`yolo11.${name}`, JSON.stringify(value));
  } catch {
    // Private windows.
  }
}
