// Whether all is well, in words. The sentence says no figure that moves, so that a screen reader hears it
// only when the verdict is another one.

import { byId, element, setText } from "./element.js";
import { clock, duration, integer } from "./format.js";

/** Figures come each second; without any for this long (ms) something is wrong. */
const SILENCE = 4_000;

const SIGNS = { ok: "●", wait: "○", warn: "▲", fault: "■" };
const RANK = ["ok", "wait", "warn", "fault"];

/**
 * Judges what is known: `hello`, the last `figures` and when they came (`heard`, ms), whether Redis' feed is
 * up, since when we are `disconnected` (ms, or null), and what time it is (`now`, ms).
 */
export function judge({ hello, figures, heard, feedUp, disconnected, now }) {
  if (disconnected !== null) {
    return { level: "fault", words: `Disconnected since ${clock(disconnected)}`, checks: [says("fault", "the origin does not answer; what is shown is from before")] };
  }
  if (!hello || !figures) return { level: "wait", words: "Connecting", checks: [] };
  if (now - heard > SILENCE) {
    return { level: "warn", words: `No figures since ${clock(heard)}`, checks: [says("warn", "the connection is open, but the origin says nothing")] };
  }
  const promise = shortestPromise(hello);
  const checks = [
    ...figures.regions.map((region) => ofRegion(region, promise, figures.regions.length > 1)),
    feedUp ? says("ok", "feed of invalidations up") : says("warn", "feed of invalidations down"),
    says("ok", figures.relay.leads ? "relay leads here" : "relay does not lead here"),
    figures.gate.shed_per_s > 0
      ? says("warn", `PostgreSQL's queue is full: ${integer(Math.ceil(figures.gate.shed_per_s))} refused a second`)
      : says("ok", `PostgreSQL: ${integer(figures.gate.running)} running, ${integer(figures.gate.waiting)} waiting`),
  ];
  const level = RANK[Math.max(...checks.map((check) => RANK.indexOf(check.level)))];
  return { level, words: sentence(level, figures, promise), checks };
}

/** The shortest promise of a query that is cached, in ms; null if none is. */
export function shortestPromise(hello) {
  const promises = hello.queries.map(({ promise_ms }) => promise_ms).filter((promise) => promise !== null);
  return promises.length > 0 ? Math.min(...promises) : null;
}

const says = (level, words) => ({ level, words });

function ofRegion(region, promise, several) {
  const where = several ? ` (${region.name})` : "";
  if (!region.up) return says("fault", `Redis does not answer${where}`);
  if (region.age_ms === null) return says("fault", `no tidemark${where}`);
  const age = `tidemark ${duration(region.age_ms)} old`;
  if (promise === null) return says("ok", `Redis up, ${age}${where}`);
  return region.age_ms <= promise
    ? says("ok", `Redis up, ${age} of at most ${duration(promise)}${where}`)
    : says("fault", `${age}, promised is ${duration(promise)}${where}`);
}

function sentence(level, { regions, gate }, promise) {
  const isProven = ({ up, age_ms }) => up && age_ms !== null && (promise === null || age_ms <= promise);
  if (regions.every(({ up }) => !up)) return "Redis is gone: every read goes to the origin";
  if (!regions.some(isProven)) return "Nothing is proven: reads go to the origin until it is";
  if (!regions.every(isProven)) return "Proven, but not in every region";
  if (gate.shed_per_s > 0) return "Proven, but some reads are refused";
  if (level !== "ok") return "Proven, but not everything is well";
  return "Proven: no cached answer is older than promised";
}

/** Shows a verdict. */
export function show(verdict) {
  byId("verdict").dataset.level = verdict.level;
  setText(byId("verdict-words"), verdict.words);
  const list = byId("checks");
  while (list.children.length > verdict.checks.length) list.lastElementChild.remove();
  verdict.checks.forEach((check, place) => {
    const item = list.children[place] ?? list.appendChild(newCheck());
    item.dataset.level = check.level;
    setText(item.firstElementChild, SIGNS[check.level]);
    setText(item.lastElementChild, check.words);
  });
}

const newCheck = () =>
  element("li", {}, element("span", { class: "sign", "aria-hidden": "true" }), element("span"));
