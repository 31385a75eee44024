// Asks again, with care: only while the tab is seen, one call at a time, slower when nothing changes, slower still when the server is
// gone; at once when the tab comes back.

import { fill, h, button, announce } from "./dom.js";
import * as api from "./api.js";

const LONGEST = 30000;

export class Poller {
  /** `task(signal)` resolves to true where something moved; `pace()` is the shortest pause in milliseconds. */
  constructor(task, pace) {
    this.task = task;
    this.pace = pace;
    this.pause = pace();
    this.failures = 0;
    this.abort = new AbortController();
    this.seen = () => { if (!document.hidden) this.soon(); };
    document.addEventListener("visibilitychange", this.seen);
    connection.pollers.add(this);
    this.plan(this.pause);
  }

  plan(pause) {
    clearTimeout(this.timer);
    if (this.over) return;
    this.due = Date.now() + pause;
    this.timer = setTimeout(() => this.run(), pause);
  }

  soon() {
    if (!this.busy) this.plan(0);
  }

  async run() {
    if (this.over || document.hidden || this.busy) return;
    this.busy = true;
    try {
      const moved = await this.task(this.abort.signal);
      this.failures = 0;
      connection.works();
      this.pause = moved ? this.pace() : Math.min(Math.max(this.pause * 1.5, this.pace()), Math.max(this.pace(), LONGEST / 2));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.failures += 1;
      this.pause = Math.min(1000 * 2 ** this.failures, LONGEST);
      if (error.isGone) connection.fails(this);
      else if (!(error instanceof api.ApiError)) throw error;
    } finally {
      this.busy = false;
      if (!this.over) this.plan(this.pause);
    }
  }

  stop() {
    this.over = true;
    clearTimeout(this.timer);
    this.abort.abort();
    document.removeEventListener("visibilitychange", this.seen);
    connection.pollers.delete(this);
  }
}

/** Whether the server answers, told at the top of every page. */
export const connection = {
  pollers: new Set(),
  gone: false,

  works() {
    if (!this.gone) return;
    this.gone = false;
    clearInterval(this.ticking);
    fill(document.getElementById("banner"));
    announce("The server answers again.");
    for (const poller of this.pollers) {
      if (poller.failures > 0) poller.soon();
    }
    dispatchEvent(new Event("server-back"));
  },

  fails(poller) {
    this.poller = poller;
    if (this.gone) return;
    this.gone = true;
    const left = h("span", {});
    const tell = () => {
      const seconds = Math.max(0, Math.round(((this.poller.due ?? 0) - Date.now()) / 1000));
      left.textContent = seconds > 0 ? ` Next try in ${seconds} s.` : " Trying…";
    };
    fill(document.getElementById("banner"), h("div", { class: "gone" },
      h("strong", {}, "The server does not answer."), " What you see is what was known.", h("span", { "aria-live": "off" }, left),
      button("Try now", () => { for (const one of this.pollers) one.soon(); })));
    tell();
    this.ticking = setInterval(tell, 1000);
  },
};
