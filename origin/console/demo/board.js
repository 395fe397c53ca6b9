// The organization dashboard of the example, drawn from its JSON (examples/erp/sql/dashboard.sql).

import { axis, colour, fill } from "../chart.js";
import { element, setText } from "../element.js";
import { amount, integer } from "../format.js";
import { Table } from "../table.js";

const { uPlot } = globalThis;

const HEIGHT = 132;

/** In seconds. */
const HALF_DAY = 43_200;

/** A day's middle, in seconds since the Unix epoch; a date is the same everywhere. */
const noon = (day) => Date.parse(`${day}T12:00:00Z`) / 1000;

/** How many lines of each list are shown. */
const LINES = 5;

const TOTALS = [
  ["Revenue", ({ totals }) => amount(totals.revenue)],
  ["Orders", ({ totals }) => integer(totals.orders)],
  ["Units", ({ totals }) => integer(totals.units)],
  ["Customers", ({ totals }) => integer(totals.customers)],
  ["Average order", ({ totals }) => amount(totals.average_order)],
  ["Still to be paid", ({ receivables }) => amount(receivables.open)],
];

const LISTS = [
  ["Categories", ({ revenue_by_category }) => revenue_by_category.map(({ category, revenue }) => ({ name: category, revenue }))],
  ["Products", ({ top_products }) => top_products],
  ["Customers", ({ top_customers }) => top_customers],
];

export class Board {
  #heading = element("h3", {}, "Dashboard");
  #totals = [];
  #lists = [];
  #days;
  #plot;
  /** The first and the last moment of what is asked for, in seconds. */
  #period = [0, 1];
  #shown = "";

  constructor(parent) {
    const totals = element("dl", { class: "totals" });
    for (const [name, value] of TOTALS) {
      const figure = element("dd");
      totals.append(element("div", {}, element("dt", {}, name), figure));
      this.#totals.push({ figure, value });
    }
    const host = element("div", { class: "plot", "aria-hidden": "true" });
    const lists = element("div", { class: "lists" });
    for (const [name, of] of LISTS) {
      const table = element("table", {}, element("caption", {}, name), element("tbody"));
      lists.append(table);
      const rows = new Table(table, [
        { text: (item) => item.name, mark: bar },
        { text: ({ revenue }) => amount(revenue) },
      ]);
      this.#lists.push({ rows, of });
    }
    const days = element(
      "table",
      {},
      element("caption", { class: "visually-hidden" }, "Revenue by day"),
      element("thead", {}, element("tr", {}, ...["day", "orders", "revenue"].map((name, place) => element("th", { scope: "col", class: place > 0 ? "number" : null }, name)))),
      element("tbody"),
    );
    this.#days = new Table(days, [
      { text: ({ day }) => day },
      { text: ({ orders }) => integer(orders) },
      { text: ({ revenue }) => amount(revenue) },
    ]);
    parent.append(
      this.#heading,
      totals,
      element("figure", { class: "chart" }, element("figcaption", {}, element("h4", {}, "Revenue by day")), host),
      lists,
      element("details", {}, element("summary", {}, "The days as a table"), days),
    );
    this.#plot = draw(host, () => this.#period);
    fill(host, this.#plot, HEIGHT);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#plot.redraw());
  }

  /** Draws an answer. One that says the same as the one before changes nothing. */
  show(dashboard) {
    const text = JSON.stringify(dashboard);
    if (text === this.#shown) return;
    const isFirst = this.#shown === "";
    this.#shown = text;
    const { organization, period, orders_per_day } = dashboard;
    setText(this.#heading, `${organization.name}, in ${organization.currency}`);
    for (const { figure, value } of this.#totals) {
      const before = figure.textContent;
      setText(figure, value(dashboard));
      if (!isFirst && figure.textContent !== before) flash(figure);
    }
    for (const { rows, of } of this.#lists) {
      const lines = of(dashboard).slice(0, LINES);
      const most = Math.max(...lines.map(({ revenue }) => revenue), 0);
      rows.show(lines.map((line) => ({ ...line, share: most > 0 ? line.revenue / most : 0 })));
    }
    this.#days.show(orders_per_day);
    const days = orders_per_day.map(({ day }) => noon(day));
    this.#period = [noon(period.from) - HALF_DAY, noon(period.to) + HALF_DAY];
    this.#plot.setData([days, orders_per_day.map(({ revenue }) => revenue)]);
  }
}

/** A bar for each day that has orders, in all the days of `period`. */
function draw(host, period) {
  return new uPlot(
    {
      width: host.clientWidth || 320,
      height: HEIGHT,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      tzDate: (second) => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
      scales: { x: { range: period }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [
        axis({ size: 24, space: 60, values: (_, at) => at.map((second) => new Date(second * 1000).toISOString().slice(5, 10)) }),
        axis({ size: 52, gap: 4, space: 26, values: (_, values) => values.map(integer) }),
      ],
      series: [{}, { fill: () => colour("blue"), stroke: () => colour("blue"), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 24] }) }],
    },
    [[], []],
    host,
  );
}

function bar(cell, { share }) {
  cell.classList.add("bar");
  cell.style.setProperty("--share", `${(share * 100).toFixed(1)}%`);
}

/** Shows that a figure is another one, for a moment; console.css leaves it out for who wants no motion. */
function flash(node) {
  node.classList.remove("flash");
  // The animation begins again only once the browser has seen it gone.
  void node.offsetWidth;
  node.classList.add("flash");
}
