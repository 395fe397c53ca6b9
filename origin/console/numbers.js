// The big numbers.

import { byId, element, setText } from "./element.js";
import { NOTHING, bytes, count, duration, percent } from "./format.js";

/** Each with its name, its value, and what puts the value into proportion. */
const NUMBERS = [
  ["Answers a second", ({ edge }) => count(edge.per_s), ({ answers }) => saying(answers)],
  ["Hit ratio", ({ hit_ratio }) => percent(hit_ratio), () => "of what may be cached"],
  ["Edge, p50", ({ edge }) => duration(edge.p50_ms), ({ edge }) => `p99 ${duration(edge.p99_ms)}`],
  ["Origin, p50", ({ origin }) => duration(origin.p50_ms), ({ origin }) => `p99 ${duration(origin.p99_ms)}`],
  ["SQL queries a second", ({ sql }) => count(sql.per_s), ({ sql }) => `${count(sql.without_per_s)} without the cache`],
  ["Commit to applied, p50", ({ relay }) => duration(relay.applied_p50_ms), ({ relay }) => `p99 ${duration(relay.applied_p99_ms)}`],
  ["Tidemark age", ({ regions }) => duration(regions[0]?.age_ms), (_, promise) => (promise === null ? "" : `promised: at most ${duration(promise)}`)],
  ["Redis memory", ({ regions }) => bytes(regions[0]?.used_memory), ({ regions }) => evictions(regions[0])],
];

/** The two outcomes that happen most. */
function saying(answers) {
  const most = Object.entries(answers).sort(([, a], [, b]) => b - a);
  return most.slice(0, 2).map(([name, rate]) => `${name} ${count(rate)}`).join(", ") || NOTHING;
}

function evictions(region) {
  if (!region?.up) return NOTHING;
  const limit = region.max_memory > 0 ? `of ${bytes(region.max_memory)}` : "no limit";
  return `${limit}, ${count(region.evicted_per_s)} evicted/s`;
}

export class Numbers {
  #shown;

  constructor() {
    const list = byId("numbers");
    this.#shown = NUMBERS.map(([name, value, aside]) => {
      const [big, small] = [element("dd", { class: "value" }, NOTHING), element("dd", { class: "aside" })];
      list.append(element("div", {}, element("dt", {}, name), big, small));
      return { big, small, value, aside };
    });
  }

  /** Shows the last figures; `promise` (ms) is the shortest, or null. */
  update(figures, promise) {
    for (const { big, small, value, aside } of this.#shown) {
      setText(big, value(figures));
      setText(small, aside(figures, promise));
    }
  }
}
