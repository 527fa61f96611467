/** Tables that can be sorted by any column, by keyboard as well. */

import { el } from "./dom.js";

/**
 * @typedef {{ title: string, begin?: boolean, group?: string, span?: number }} Column
 * @typedef {{ node: Node | string, value: number | null, small?: (Node | string | null)[] }} TableCell
 */

/**
 * @param {string} caption
 * @param {Column[]} columns without that of the names
 * @param {{ name: string, key: string, ours?: boolean, cells: TableCell[] }[]} rows
 * @param {string} [corner] heading of the names
 */
export function table(caption, columns, rows, corner = "Defense") {
  const body = el("tbody");
  let sorted = -1, down = true;
  const headings = ["", ...columns].map((column, i) => {
    const heading = el("th", { scope: "col", class: column.begin ? "begin" : null });
    const title = i ? column.title : corner;
    heading.append(i ? el("button", { type: "button", onclick: () => sort(i - 1) }, title) : title);
    if (i) heading.setAttribute("aria-sort", "none");
    return heading;
  });

  function sort(index) {
    down = sorted === index ? !down : true;
    sorted = index;
    headings.forEach((heading, i) => {
      if (i) heading.setAttribute("aria-sort", i - 1 === index ? (down ? "descending" : "ascending") : "none");
    });
    draw();
  }

  function draw() {
    const order = [...rows];
    if (sorted >= 0) {
      // What was not measured stays at the end either way.
      const key = (row) => row.cells[sorted].value;
      order.sort((a, b) => (key(a) === null) - (key(b) === null) || (down ? key(b) - key(a) : key(a) - key(b)));
    }
    body.replaceChildren(...order.map((row) =>
      el("tr", { class: row.ours ? "ours" : null, "data-key": row.key },
        el("th", { scope: "row" }, row.name),
        ...row.cells.map((cell, i) =>
          el("td", { class: columns[i].begin ? "begin" : null }, cell.node, ...(cell.small ?? []).filter(Boolean).map((text) => el("small", {}, text)))))));
  }

  const groups = columns.some((column) => column.group)
    ? [el("tr", { class: "groups" }, el("td", {}), ...columns.filter((column) => column.group !== undefined).map((column) =>
      el(column.group ? "th" : "td", { scope: column.group ? "colgroup" : null, colspan: column.span ?? 1, class: column.begin ? "begin" : null }, column.group)))]
    : [];
  draw();
  return el("div", {}, el("p", { class: "caption" }, caption), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { "aria-label": caption }, el("thead", {}, ...groups, el("tr", {}, ...headings)), body)));
}
