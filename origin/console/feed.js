// The feed: what changed, which queries that concerns, and how soon the caches knew.
//
// It is a log that assistive technology reads aloud, so it speaks at most once a second, folds a storm into
// one line, and can be paused.

import { byId, element, setText } from "./element.js";
import { clock, duration, integer } from "./format.js";

/** How many lines stay. */
const LENGTH = 80;

/** How many lines a second are shown one by one; what exceeds them becomes one line. */
const BATCH = 6;

/** The shortest time between two additions, in ms. */
const PACE = 1_000;

export class Feed {
  #list = byId("feed");
  #button = byId("feed-pause");
  #keys = byId("feed-keys");
  #waiting = [];
  #paused = false;
  #due = false;
  #last = 0;

  constructor() {
    this.#button.addEventListener("click", () => this.#toggle());
  }

  change({ at, scopes, more, queries, applied_ms }) {
    this.#add({ at, kind: "change", scopes, more, queries, applied_ms });
  }

  epoch({ at, epoch }) {
    this.#add({ at, kind: "event", text: `New epoch ${epoch}: everything is invalidated` });
  }

  feed({ at, up }) {
    const text = up ? "Redis is heard again" : "Redis can't be heard: changes may be missing here";
    this.#add({ at, kind: "event", text });
  }

  keys({ at, expired, evicted, names }) {
    if (!this.#keys.checked) return;
    const text = `Redis: ${integer(expired)} expired, ${integer(evicted)} evicted`;
    this.#add({ at, kind: "keys", text, names });
  }

  #add(entry) {
    this.#waiting.push(entry);
    // What nobody will ever see; only the number counts from here on.
    if (this.#waiting.length > 10_000) this.#waiting.shift();
    if (this.#paused) return this.#label();
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => this.#flush(), Math.max(0, this.#last + PACE - performance.now()));
  }

  #flush() {
    this.#due = false;
    if (this.#paused) return;
    this.#last = performance.now();
    const entries = this.#waiting.splice(0);
    const shown = entries.slice(-BATCH);
    const folded = entries.slice(0, -BATCH);
    const lines = shown.map(line);
    if (folded.length > 0) lines.unshift(fold(folded));
    // The latest on top.
    this.#list.prepend(...lines.toReversed());
    while (this.#list.children.length > LENGTH) this.#list.lastElementChild.remove();
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.#button.setAttribute("aria-pressed", String(this.#paused));
    this.#label();
    if (!this.#paused) this.#flush();
  }

  #label() {
    const held = this.#waiting.length;
    setText(this.#button, this.#paused && held > 0 ? `Paused, ${integer(held)} new` : this.#paused ? "Paused" : "Pause");
  }
}

function line(entry) {
  const item = element("li", { "data-kind": entry.kind }, moment(entry.at));
  if (entry.kind === "change") item.append(...ofChange(entry));
  else item.append(element("p", { class: "what" }, entry.text));
  if (entry.names?.length > 0) item.append(element("p", { class: "queries" }, entry.names.join(", ")));
  return item;
}

function ofChange({ scopes, more, queries, applied_ms }) {
  const what = element("p", { class: "what" }, ...scopes.flatMap((scope) => [element("code", {}, scope), " "]));
  if (more > 0) what.append(`and ${integer(more)} more`);
  return [
    what,
    element("p", { class: "applied" }, element("span", { class: "visually-hidden" }, "applied after at most "), duration(applied_ms)),
    element("p", { class: "queries" }, queries.length > 0 ? queries.join(", ") : "no query depends on it"),
  ];
}

function fold(entries) {
  const changes = entries.filter(({ kind }) => kind === "change");
  const scopes = new Set(changes.flatMap((change) => change.scopes));
  const words = `and ${integer(entries.length)} more, of ${integer(scopes.size)} scopes`;
  return element("li", { "data-kind": "fold" }, moment(entries[0].at), element("p", { class: "what" }, words));
}

const moment = (at) => element("time", { datetime: new Date(at).toISOString() }, clock(at));
