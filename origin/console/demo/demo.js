// The demo: one dashboard, read through the edge and directly, and buttons that change something under it.

import { byId, element, setText } from "../element.js";
import { amount, duration, integer } from "../format.js";
import { Table } from "../table.js";
import { Board } from "./board.js";
import { watchedCommand } from "./change.js";
import { Reading, Unanswered } from "./reading.js";

/** From one look at the dashboard to the next, in ms. */
const PACE = 500;

/** The product whose price changes. */
const PRODUCT = 7;

export class Demo {
  #edge = null;
  #question = byId("demo-question");
  #outcome = byId("demo-outcome");
  #price = byId("demo-price");
  #throughEdge = new Reading();
  #directly = new Reading();
  #prices = new Reading();
  #timing = new Table(byId("demo-timing"), [
    { text: ({ name }) => name },
    { text: ({ reading }) => duration(reading.last) },
    { text: ({ reading }) => duration(reading.median) },
  ]);
  #board = null;
  #shown = null;
  #busy = false;
  /** Stops what reads for another question. */
  #abort = new AbortController();

  constructor() {
    this.#question.addEventListener("submit", (event) => event.preventDefault());
    this.#question.addEventListener("change", () => this.#askAnew());
    byId("place-order").addEventListener("click", () => this.#change(() => this.#placeOrder()));
    byId("change-price").addEventListener("click", () => this.#change(() => this.#changePrice()));
  }

  /** Begins, if the server says that this is the demo, and where its edge is. */
  greet(demo) {
    byId("demo").hidden = demo === null;
    const begins = this.#edge === null && demo !== null;
    this.#edge = demo === null ? null : demo.edge.replace(/\/$/, "");
    if (!begins) return;
    this.#board ??= new Board(byId("demo-board"));
    this.#follow();
  }

  async #follow() {
    while (this.#edge !== null) {
      const begun = performance.now();
      if (!document.hidden && this.#question.checkValidity()) await this.#look();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, PACE - (performance.now() - begun))));
    }
  }

  /** One look. One after the other, so that no answer waits for another one's. */
  async #look() {
    const { signal } = this.#abort;
    try {
      await this.#readEdge(signal);
      await this.#directly.read(this.#path(), signal);
      await this.#readPrice(signal);
      this.#tell();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Unanswered)) throw error;
      this.#say(`No dashboard: ${error.message}.`, "fault");
      this.#shown = null;
    }
  }

  async #readEdge(signal) {
    const dashboard = await this.#throughEdge.read(this.#edge + this.#path(), signal);
    if (this.#shown === null) this.#say("Press a button, or change a row with psql: the edge's answer follows.");
    this.#shown = dashboard;
    this.#board.show(dashboard);
    return dashboard;
  }

  async #readPrice(signal) {
    const [product] = await this.#prices.read(`${this.#edge}/products?after=${PRODUCT - 1}&limit=1`, signal);
    const words = product ? `${product.name} costs ${amount(product.price)} in the price list` : "The price list is empty";
    setText(this.#price, `${words} (through the edge: ${duration(this.#prices.last)}, ${status(this.#prices)})`);
    return product;
  }

  #tell() {
    this.#timing.show([
      { name: `Through the edge: ${status(this.#throughEdge)}`, reading: this.#throughEdge },
      { name: "Directly: from PostgreSQL", reading: this.#directly },
    ]);
  }

  #askAnew() {
    if (!this.#question.reportValidity()) return;
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#throughEdge.forget();
    this.#directly.forget();
    this.#shown = null;
  }

  #path() {
    const asked = new FormData(this.#question);
    const period = new URLSearchParams({ from: asked.get("from"), to: asked.get("to") });
    return `/org/${encodeURIComponent(asked.get("org"))}/dashboard?${period}`;
  }

  /** One change at a time. The buttons stay enabled, for a disabled one would lose the keyboard's focus. */
  async #change(make) {
    if (this.#busy || this.#shown === null) return;
    this.#busy = true;
    this.#say("Changing …");
    try {
      this.#say(await make());
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof Unanswered)) throw error;
      this.#say(`Failed: ${error.message}.`, "fault");
    } finally {
      this.#busy = false;
    }
  }

  async #placeOrder() {
    const asked = new FormData(this.#question);
    const org = Number(asked.get("org"));
    const { signal } = this.#abort;
    const { orders } = (await this.#readEdge(signal)).totals;
    // The example deals its customers out in turn: customer 42 is one of organization 42's.
    const products = this.#shown.top_products.map(({ id }) => id);
    const product = products[Math.floor(Math.random() * products.length)] ?? PRODUCT;
    const items = [{ product, quantity: 1 + Math.floor(Math.random() * 5) }];
    const { answer, command_ms, edge_ms } = await watchedCommand(
      { method: "POST", path: `/org/${org}/orders`, body: { customer: org, date: asked.get("to"), items } },
      () => this.#readEdge(signal),
      (dashboard) => dashboard.totals.orders > orders,
    );
    return `Order ${integer(answer.id)} over ${amount(answer.total)}: ${arrival(edge_ms, command_ms)}`;
  }

  async #changePrice() {
    const { signal } = this.#abort;
    const before = await this.#readPrice(signal);
    const change = (0.1 + Math.random()) * (Math.random() < 0.5 ? -1 : 1);
    const price = Number(Math.max(1, before.price + change).toFixed(2));
    const { command_ms, edge_ms } = await watchedCommand(
      { method: "PUT", path: `/product/${PRODUCT}/price`, body: { price } },
      () => this.#readPrice(signal),
      (product) => Number(product.price) === price,
    );
    return `Price ${amount(price)}: ${arrival(edge_ms, command_ms)} The dashboard stays cached, for orders keep the price of their day.`;
  }

  #say(words, level = "ok") {
    this.#outcome.dataset.level = level;
    setText(this.#outcome, words);
  }
}

const arrival = (edge_ms, command_ms) =>
  edge_ms === null
    ? "the edge does not have it after ten seconds."
    : `the edge had it ${duration(edge_ms)} after the click; the command itself was answered after ${duration(command_ms)}.`;

/** Cache-Status in short: "hit", or why not. */
function status({ cacheStatus }) {
  const edge = cacheStatus.split(", ").at(-1);
  if (edge === "") return "no Cache-Status";
  return edge.replace(/^tidemark; /, "");
}
