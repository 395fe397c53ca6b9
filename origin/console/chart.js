// One time series chart: uPlot's canvas for the eye, and beside it a table that says the same in figures.

import { element, setText } from "./element.js";
import { NOTHING, clock, clockMinute, onAxis } from "./format.js";
import { SPAN } from "./history.js";

const { uPlot } = globalThis;

const HEIGHT = 132;
const WIDE_HEIGHT = 176;

/** A colour of console.css, as it is now: it follows the reader's colour scheme. */
export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** What axes have in common in all charts. */
export const axis = (more) => ({
  stroke: () => colour("muted"),
  grid: { stroke: () => colour("rule"), width: 1 },
  ticks: { show: false },
  font: `11px ${getComputedStyle(document.body).fontFamily}`,
  ...more,
});

/** Keeps a plot as wide as the element that it is in, which has a width of its own. */
export function fill(host, plot, height) {
  new ResizeObserver(() => plot.setSize({ width: host.clientWidth, height })).observe(host);
}

/**
 * A chart of `History`.
 *
 * `title`; `format` (a value as text); `series`, from the bottom to the top, each with `label`, `colour` (a
 * name in console.css), `of` (takes it from the figures), and if wanted `dash` and `fill`; `kind`: "lines",
 * "log" (lines over a logarithmic axis) or "stacked"; and if wanted `limit` (where the axis ends), `steps`
 * (between its marks) and `isWide`.
 */
export class Chart {
  #options;
  #history;
  #figure;
  #plot;
  #rows;
  #now;
  #pointed = null;

  constructor(parent, options, history) {
    this.#options = options;
    this.#history = history;
    this.#now = element("th", { scope: "col", class: "number" }, "now");
    const body = element("tbody");
    this.#rows = options.series.map((series) => new Row(body, series));
    const host = element("div", { class: "plot", "aria-hidden": "true" });
    this.#figure = element(
      "figure",
      { class: options.isWide ? "chart wide" : "chart" },
      element("figcaption", {}, element("h3", {}, options.title)),
      host,
      element(
        "table",
        { class: "legend" },
        element("caption", { class: "visually-hidden" }, `${options.title}: values`),
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            element("th", { scope: "col" }, element("span", { class: "visually-hidden" }, "Line")),
            this.#now,
            element("th", { scope: "col", class: "number" }, "most"),
          ),
        ),
        body,
      ),
    );
    parent.append(this.#figure);
    this.#plot = this.#draw(host);
    fill(host, this.#plot, this.#plot.height);
  }

  /** Shows what the history has by now. */
  update() {
    const { series, kind } = this.#options;
    const columns = series.map((one) => this.#history.column(one.of));
    this.#plot.setData([this.#history.moments, ...drawn(columns, kind)]);
    this.#tell(columns);
  }

  /** Draws it again, in the colours of now. */
  recolour() {
    this.#plot.redraw();
  }

  /** Takes it off the page. */
  remove() {
    this.#plot.destroy();
    this.#figure.remove();
  }

  #draw(host) {
    const { series, kind, format, limit, steps, isWide } = this.#options;
    const lines = series.map((one) => ({
      stroke: () => colour(one.colour),
      fill: kind === "stacked" || one.fill ? () => colour(`${one.colour}-fill`) : undefined,
      width: kind === "stacked" ? 1 : 1.5,
      dash: one.dash,
      points: { show: false },
    }));
    return new uPlot(
      {
        width: host.clientWidth || 320,
        height: isWide ? WIDE_HEIGHT : HEIGHT,
        padding: [8, 2, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: "console" }, drag: { x: false, y: false }, y: false, points: { show: kind !== "stacked" } },
        scales: {
          x: { range: () => this.#window() },
          y: kind === "log" ? { distr: 3, range: logRange } : { range: (_, __, most) => [0, limit ?? (most > 0 ? most * 1.12 : 1)] },
        },
        axes: [
          axis({ incrs: [60], space: 44, size: 24, values: (_, at) => at.map((second) => clockMinute(second * 1000)) }),
          axis({
            size: 52,
            gap: 4,
            space: 26,
            ...(steps && { incrs: steps }),
            ...(kind === "log" && { filter: decades, grid: { ...axis().grid, filter: decades } }),
            values: (_, values) => values.map((value) => (value === null ? "" : onAxis(format(value)))),
          }),
        ],
        series: [{}, ...(kind === "stacked" ? lines.toReversed() : lines)],
        hooks: {
          draw: [(plot) => this.#markChanges(plot)],
          setCursor: [(plot) => this.#point(plot.cursor.idx ?? null)],
        },
      },
      [[], ...series.map(() => [])],
      host,
    );
  }

  /** The five minutes up to the last figures, so that a line moves at one pace. */
  #window() {
    const last = this.#history.moments.at(-1) ?? Date.now() / 1000;
    return [last - SPAN, last];
  }

  #markChanges(plot) {
    const { ctx, bbox } = plot;
    const size = 4 * devicePixelRatio;
    ctx.save();
    ctx.fillStyle = colour("ink");
    for (const second of this.#history.changes) {
      const x = plot.valToPos(second, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.fillRect(Math.round(x), bbox.top + bbox.height - size, devicePixelRatio, size);
    }
    ctx.restore();
  }

  /** The reader points at a moment (an index), or at none any more. */
  #point(index) {
    if (index === this.#pointed) return;
    this.#pointed = index;
    this.#tell(this.#options.series.map((one) => this.#history.column(one.of)));
  }

  #tell(columns) {
    const index = this.#pointed ?? this.#history.moments.length - 1;
    const moment = this.#history.moments[index];
    setText(this.#now, this.#pointed === null || moment === undefined ? "now" : clock(moment * 1000));
    columns.forEach((column, place) => this.#rows[place].show(column, index, this.#options.format));
  }
}

/** A line of the table beside a chart. */
class Row {
  #now = element("td", { class: "number" }, NOTHING);
  #most = element("td", { class: "number" }, NOTHING);

  constructor(body, series) {
    const swatch = element("span", { class: series.dash ? "swatch dashed" : "swatch", "aria-hidden": "true" });
    swatch.style.setProperty("--colour", `var(--${series.colour})`);
    body.append(element("tr", {}, element("th", { scope: "row" }, swatch, series.label), this.#now, this.#most));
  }

  show(column, index, format) {
    const measured = column.filter((value) => value !== null);
    setText(this.#now, format(column[index] ?? null));
    setText(this.#most, format(measured.length > 0 ? Math.max(...measured) : null));
  }
}

/** The columns as they are drawn: sums from the bottom, or without what a logarithm can't show. */
function drawn(columns, kind) {
  if (kind === "log") return columns.map((column) => column.map((value) => (value > 0 ? value : null)));
  if (kind !== "stacked") return columns;
  const sums = [];
  columns.forEach((column, place) => {
    sums.push(column.map((value, at) => (value === null ? null : value + (sums[place - 1]?.[at] ?? 0))));
  });
  // The highest first: what is drawn later covers it up to its own height.
  return sums.toReversed();
}

/** Of a logarithmic axis' marks, the powers of ten. */
const decades = (_, values) => values.map((value) => (Number.isInteger(Math.log10(value)) ? value : null));

/** Whole decades around what there is, and never less than one. */
function logRange(_, least, most) {
  if (!(least > 0) || !(most > 0)) return [0.1, 10];
  const low = Math.floor(Math.log10(least));
  const high = Math.max(Math.ceil(Math.log10(most * 1.05)), low + 1);
  return [10 ** low, 10 ** high];
}
