// The last five minutes of figures, and the moments at which something was invalidated.

/** How much is shown, in seconds. */
export const SPAN = 300;

/** Figures come each second; where they have not for this long (ms), lines have a gap. */
const GAP = 2_500;

export class History {
  #moments = [];
  #figures = [];
  /** Seconds with a change, in order. */
  #changes = [];

  /** Adds what the server has measured. */
  add(figures) {
    const last = this.#moments.at(-1);
    const at = figures.at / 1000;
    // A clock that was set back would run the lines backwards.
    if (last !== undefined && at <= last) return;
    if (last !== undefined && (at - last) * 1000 > GAP) this.#push(last + 1, null);
    this.#push(at, figures);
    const oldest = at - SPAN - 1;
    const gone = this.#moments.findIndex((moment) => moment >= oldest);
    this.#moments.splice(0, gone);
    this.#figures.splice(0, gone);
    const outdated = this.#changes.findIndex((moment) => moment >= oldest);
    this.#changes.splice(0, outdated < 0 ? this.#changes.length : outdated);
  }

  /** Notes that something was invalidated, `at` ms since the Unix epoch. */
  addChange(at) {
    const second = Math.floor(at / 1000);
    if (this.#changes.at(-1) !== second) this.#changes.push(second);
  }

  /** When the figures were measured, in seconds since the Unix epoch. */
  get moments() {
    return this.#moments;
  }

  /** Seconds in which something was invalidated. */
  get changes() {
    return this.#changes;
  }

  /** One figure at all moments; `of` takes it from what the server sent. Null where it was not measured. */
  column(of) {
    return this.#figures.map((figures) => (figures === null ? null : (of(figures) ?? null)));
  }

  #push(moment, figures) {
    this.#moments.push(moment);
    this.#figures.push(figures);
  }
}
