// What happens by query, by region, and which requests are read most.

import { byId } from "./element.js";
import { bytes, count, duration, percent } from "./format.js";
import { Table } from "./table.js";

const mark = (name) => (cell, isSo) => cell.classList.toggle(name, isSo);
const markFault = mark("fault");

export class Tables {
  #promises = new Map();
  #queries = new Table(byId("queries"), [
    { text: ({ name }) => name, mark: (cell, { path }) => (cell.title = path ?? "") },
    { text: ({ per_s }) => count(per_s) },
    { text: ({ hit_ratio }) => percent(hit_ratio) },
    { text: ({ p50_ms, p99_ms }) => pair(duration(p50_ms), duration(p99_ms)) },
    { text: ({ promise_ms }) => (promise_ms === null ? "never cached" : duration(promise_ms)) },
  ]);
  #regions = new Table(byId("regions"), [
    { text: ({ name }) => name },
    { text: ({ up, age_ms }) => (up ? duration(age_ms) : "does not answer"), mark: (cell, { up, age_ms }) => markFault(cell, !up || age_ms === null) },
    { text: ({ used_memory, max_memory }) => (max_memory > 0 ? `${bytes(used_memory)} of ${bytes(max_memory)}` : bytes(used_memory)) },
    { text: ({ evicted_per_s, expired_per_s }) => pair(count(evicted_per_s), count(expired_per_s)) },
  ]);
  #hot = new Table(byId("hot"), [
    { text: ({ request }) => request, mark: bar },
    { text: ({ share }) => percent(share) },
  ]);

  /** Takes from the server's greeting which queries there are. */
  greet({ queries }) {
    this.#promises = new Map(queries.map((query) => [query.name, query]));
  }

  /** Shows the last figures. */
  update({ queries, regions, hot }) {
    this.#queries.show(queries.map((query) => ({ promise_ms: null, ...this.#promises.get(query.name), ...query })));
    this.#regions.show(regions);
    this.#hot.show(hot);
  }
}

/** Two figures in one cell; one dash if there is neither. */
const pair = (one, other) => (one === other && one === "–" ? one : `${one} / ${other}`);

/** A bar behind a request, as long as its share. */
function bar(cell, { share }) {
  cell.classList.add("bar");
  cell.style.setProperty("--share", `${(share * 100).toFixed(1)}%`);
}
