// What the cache did with requests, in the groups that the chart has colours for. The names are those of
// Cache-Status (docs/interface.md).

/** From the bottom of the chart to its top. */
export const GROUPS = [
  { label: "from the cache", colour: "blue", outcomes: ["hit", "l1", "revalidate"] },
  { label: "loaded", colour: "grey", outcomes: ["miss", "expired", "at-least"] },
  { label: "loaded after a change", colour: "orange", outcomes: ["changed"] },
  { label: "never cached", colour: "purple", outcomes: ["uncacheable"] },
  { label: "not proven", colour: "amber", outcomes: ["unproven", "unstamped", "epoch", "corrupt"] },
  { label: "Redis or origin failing", colour: "red", outcomes: ["redis-unavailable", "stale-if-error"] },
];

/** Answers a second of one group. */
export const ofGroup = (group) => (figures) =>
  group.outcomes.reduce((sum, outcome) => sum + (figures.answers[outcome] ?? 0), 0);
