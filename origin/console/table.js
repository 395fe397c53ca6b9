// A table whose rows follow a list. Rows stay where they are when figures change, so that a reader, or a
// screen reader, does not lose its place.

import { element, setText } from "./element.js";

export class Table {
  #body;
  #columns;

  /**
   * Fills the body of `table`. Each column has `text` (of an item), and if wanted `mark` (does more with the
   * cell, given the item); the first one heads its row, the others are figures.
   */
  constructor(table, columns) {
    this.#body = table.tBodies[0];
    this.#columns = columns;
  }

  /** Shows these items, a row each. */
  show(items) {
    while (this.#body.rows.length > items.length) this.#body.lastElementChild.remove();
    items.forEach((item, place) => {
      const row = this.#body.rows[place] ?? this.#body.appendChild(this.#newRow());
      this.#columns.forEach((column, at) => {
        setText(row.cells[at], column.text(item));
        column.mark?.(row.cells[at], item);
      });
    });
  }

  #newRow() {
    const cells = this.#columns.map((_, at) =>
      at === 0 ? element("th", { scope: "row" }) : element("td", { class: "number" }));
    return element("tr", {}, ...cells);
  }
}
