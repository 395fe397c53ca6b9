// Which charts there are, and what each of them shows.

import { Chart } from "./chart.js";
import { byId } from "./element.js";
import { bytes, count, duration, percent } from "./format.js";
import { GROUPS, ofGroup } from "./outcomes.js";

const REGION_LINES = [
  { colour: "blue" },
  { colour: "orange", dash: [6, 3] },
  { colour: "purple", dash: [2, 2] },
  { colour: "green", dash: [8, 3, 2, 3] },
];

/** Powers of two, so that an axis of bytes has round marks. */
const BINARY_STEPS = Array.from({ length: 44 }, (_, power) => 2 ** power);

/** The charts' definitions; some have a line for each region, or the shortest promise. */
const definitions = (regions, promise) => [
  {
    title: "Answers a second, by outcome",
    isWide: true,
    kind: "stacked",
    format: count,
    series: GROUPS.map((group) => ({ ...group, of: ofGroup(group) })),
  },
  {
    title: "Time to answer",
    kind: "log",
    format: duration,
    series: [
      { label: "edge p50", colour: "blue", of: (figures) => figures.edge.p50_ms },
      { label: "edge p99", colour: "blue", dash: [4, 3], of: (figures) => figures.edge.p99_ms },
      { label: "origin p50", colour: "orange", of: (figures) => figures.origin.p50_ms },
      { label: "origin p99", colour: "orange", dash: [4, 3], of: (figures) => figures.origin.p99_ms },
    ],
  },
  {
    title: "Hit ratio",
    kind: "lines",
    format: percent,
    limit: 1,
    series: [{ label: "of what may be cached", colour: "blue", fill: true, of: (figures) => figures.hit_ratio }],
  },
  {
    title: "PostgreSQL queries a second",
    kind: "lines",
    format: count,
    series: [
      { label: "without the cache", colour: "grey", dash: [4, 3], of: (figures) => figures.sql.without_per_s },
      { label: "with it", colour: "blue", fill: true, of: (figures) => figures.sql.per_s },
    ],
  },
  {
    title: "Commit to applied",
    kind: "lines",
    format: duration,
    series: [
      { label: "p50", colour: "blue", of: (figures) => figures.relay.applied_p50_ms },
      { label: "p99", colour: "orange", dash: [4, 3], of: (figures) => figures.relay.applied_p99_ms },
    ],
  },
  {
    title: "Redis memory",
    kind: "lines",
    format: bytes,
    steps: BINARY_STEPS,
    series: ofRegions(regions, (region) => region.used_memory),
  },
  {
    title: "Forgotten by Redis a second",
    kind: "lines",
    format: count,
    series: [
      { label: "expired", colour: "grey", dash: [4, 3], of: ofAll(({ expired_per_s }) => expired_per_s) },
      { label: "evicted", colour: "red", of: ofAll(({ evicted_per_s }) => evicted_per_s) },
    ],
  },
  {
    title: "Tidemark age",
    kind: "log",
    format: duration,
    series: [
      ...ofRegions(regions, (region) => region.age_ms),
      ...(promise === null ? [] : [{ label: "shortest promise", colour: "red", dash: [2, 4], of: () => promise }]),
    ],
  },
];

const ofRegions = (names, of) =>
  names.map((label, place) => ({
    label,
    ...REGION_LINES[place % REGION_LINES.length],
    of: (figures) => {
      const region = figures.regions.find(({ name }) => name === label);
      return region ? of(region) : null;
    },
  }));

/** The sum over all regions that answer; null if none does. */
const ofAll = (of) => (figures) => {
  const measured = figures.regions.map(of).filter((value) => value !== null);
  return measured.length > 0 ? measured.reduce((sum, value) => sum + value, 0) : null;
};

/** All of them. They are made once it is known which regions and promises there are. */
export class Charts {
  #history;
  #made = [];
  #madeFor = "";

  constructor(history) {
    this.#history = history;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.#made.forEach((chart) => chart.recolour()));
  }

  /** Shows the history, `figures` being its last; `promise` (ms) is the shortest, or null. */
  update(figures, promise) {
    const regions = figures.regions.map(({ name }) => name);
    const madeFor = JSON.stringify([regions, promise]);
    if (madeFor !== this.#madeFor) {
      const parent = byId("charts");
      this.#made.forEach((chart) => chart.remove());
      this.#made = definitions(regions, promise).map((options) => new Chart(parent, options, this.#history));
      this.#madeFor = madeFor;
    }
    // Nobody looks; the next figures will do.
    if (document.hidden) return;
    this.#made.forEach((chart) => chart.update());
  }
}
