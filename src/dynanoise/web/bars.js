/** Horizontal bars with their values beside them, from an origin, linear or logarithmic. */

import { entry, scale } from "./chart.js";
import { el, svg } from "./dom.js";

const BAR = 12, PITCH = 18, GAP = 10, FOOT = 40, VALUES = 58;

/**
 * @param {HTMLElement} box
 * @param {{ title: string, label: string, domain: [number, number], ticks: number[], origin: number, log?: boolean, text(value: number): string, mark?(tick: number): string }} about
 * @param {{ name: string, ours?: boolean, cells: ({ value: number, low: number | null, high: number | null } | null)[] }[]} rows
 * @param {{ name: string, style: string }[]} kinds one bar of each kind a row
 */
export function bars(box, about, rows, kinds) {
  const width = box.clientWidth;
  if (width < 80) return;
  // Names stand beside their bars, or on a small screen above them.
  const narrow = width < 420, head = narrow ? 20 : 0, left = narrow ? 22 : 150, right = width - VALUES;
  const high = kinds.length * PITCH + GAP + head;
  const bottom = rows.length * high;
  const x = scale(about, left, right);
  const nodes = about.ticks.flatMap((tick) => [
    svg("line", { class: tick === about.origin ? "axis" : "grid", x1: x(tick), x2: x(tick), y1: 0, y2: bottom }),
    svg("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle" }, (about.mark ?? about.text)(tick)),
  ]);
  nodes.push(svg("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, about.label));
  rows.forEach(({ name, ours, cells }, i) => {
    const top = i * high + GAP / 2;
    nodes.push(svg("text", { x: 0, y: narrow ? top + 13 : top + (kinds.length * PITCH) / 2 + 4, class: ours ? "halo value" : "halo" }, name));
    cells.forEach((cell, k) => {
      const y = top + head + k * PITCH + (PITCH - BAR) / 2, middle = y + BAR / 2;
      if (!cell) return;
      const [from, to] = [x(about.origin), x(cell.value)].sort((a, b) => a - b);
      nodes.push(svg("rect", { class: `bar-fill ${kinds[k].style}`, x: from, y, width: Math.max(1, to - from), height: BAR, rx: 2 }));
      if (cell.low !== null && cell.low !== cell.high) nodes.push(svg("line", { class: "line ink thin", x1: x(cell.low), x2: x(cell.high), y1: middle, y2: middle }));
      nodes.push(svg("text", { x: width, y: middle + 4, "text-anchor": "end", class: ours ? "value" : "" }, about.text(cell.value)));
    });
  });
  const text = `${about.title}. ${rows.map(({ name, cells }) => `${name}: ${cells.map((cell) => (cell ? about.text(cell.value) : "not run")).join(", ")}`).join("; ")}.`;
  const legend = kinds.map(({ name, style }) => entry({ name, mark: svg("rect", { class: `bar-fill ${style}`, width: 26, height: 11, rx: 2 }) }));
  box.replaceChildren(
    ...(kinds.length > 1 ? [el("ul", { class: "legend" }, ...legend)] : []),
    el("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${bottom + FOOT}`, height: bottom + FOOT, role: "img", "aria-label": text }, svg("title", {}, text), ...nodes)),
  );
}
