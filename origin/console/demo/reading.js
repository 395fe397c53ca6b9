// One address, read again and again: how long the last answers took, and what the cache said.

/** What the median is of. */
const REMEMBERED = 20;

/** An answer that is no answer: the server's problem, or none at all. */
export class Unanswered extends Error {}

export class Reading {
  #times = [];
  /** Cache-Status of the last answer; empty where it has none. */
  cacheStatus = "";

  /** How long the last answer took, in ms; null before the first. */
  get last() {
    return this.#times.at(-1) ?? null;
  }

  /** The median of the last 20, in ms. */
  get median() {
    if (this.#times.length === 0) return null;
    const sorted = this.#times.toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /** Forgets what it has measured. */
  forget() {
    this.#times = [];
    this.cacheStatus = "";
  }

  /**
   * Reads the address and gives the answer's JSON; throws `Unanswered`. The browser's own cache takes no part
   * (`no-store`), and the origin reads that as "from PostgreSQL, not from your memory".
   */
  async read(url, signal) {
    const begun = performance.now();
    const answer = await ask(url, { cache: "no-store", signal });
    this.#times.push(performance.now() - begun);
    if (this.#times.length > REMEMBERED) this.#times.shift();
    this.cacheStatus = answer.cacheStatus;
    return answer.json;
  }
}

/** Asks, and gives the answer's JSON and its Cache-Status; throws `Unanswered`. */
export async function ask(url, options) {
  let response;
  let json;
  try {
    response = await fetch(url, options);
    json = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unanswered(`${new URL(url, location.href).host} does not answer`);
  }
  // A problem (RFC 9457) says what it is.
  if (!response.ok) throw new Unanswered(json.detail ?? json.title ?? `status ${response.status}`);
  return { json, cacheStatus: response.headers.get("cache-status") ?? "" };
}
