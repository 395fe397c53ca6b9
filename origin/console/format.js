// Figures as people read them. What was not measured (null) is a dash; a figure is never parted from its unit.

export const NOTHING = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

const isMissing = (value) => value === null || value === undefined;

// Thin spaces group digits as well as commas do, and are no decimal sign anywhere.
const spaced = (text) => text.replaceAll(",", "\u202f");

/** A count, or a rate: with tenths while it is small. */
export function count(value) {
  if (isMissing(value)) return NOTHING;
  const format = value !== 0 && Math.abs(value) < 9.95 ? tenths : whole;
  return spaced(format.format(value));
}

/** A whole number. */
export const integer = (value) => (isMissing(value) ? NOTHING : spaced(whole.format(value)));

/** An amount of money, without its currency. */
export const amount = (value) => (isMissing(value) ? NOTHING : spaced(money.format(value)));

/** A duration, from milliseconds. */
export function duration(ms) {
  if (isMissing(ms)) return NOTHING;
  if (ms < 9.95) return `${tenths.format(ms)}\u00a0ms`;
  if (ms < 999.5) return `${whole.format(ms)}\u00a0ms`;
  if (ms < 59_950) return `${Number((ms / 1000).toFixed(1))}\u00a0s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 120 ? `${minutes}\u00a0min` : `${Math.floor(minutes / 60)}\u00a0h`;
}

/** A share of 1. It is 100 % only where nothing is missing, so it is rounded down. */
export function percent(share) {
  if (isMissing(share)) return NOTHING;
  return `${tenths.format(Math.floor(share * 1000) / 10)}\u00a0%`;
}

/** Bytes, in binary units. */
export function bytes(value) {
  if (isMissing(value)) return NOTHING;
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < 4) {
    left /= 1024;
    unit += 1;
  }
  const digits = unit > 0 && left < 9.95 ? tenths : whole;
  return `${digits.format(left)}\u00a0${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** A figure on an axis, where a last ".0" says nothing. */
export const onAxis = (text) => text.replace(/\.0(?!\d)/, "");

/** The time of day, from milliseconds since the Unix epoch: 15:02:11. */
export const clock = (ms) => time.format(ms);

/** The same to the minute. */
export const clockMinute = (ms) => minute.format(ms);
