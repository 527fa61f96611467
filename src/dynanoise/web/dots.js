/** Attack success by defense, one mark an attacker. */

import { entry } from "./chart.js";
import { methodTitle, protocolTitle } from "./data.js";
import { el, fixed, svg } from "./dom.js";

export const OURS = /^dynanoise/;

/** One shape a protocol, the same for every data set; shapes differ in print and without colours, too. */
const PROTOCOLS = ["paper", "adaptive", "adaptive_16", "adaptive_near", "adaptive_chosen", "adaptive_key", "adaptive_disjoint", "adaptive_architecture", "adaptive_recipe"];
const MARKS = [
  (x, y) => svg("circle", { class: "ring", cx: x, cy: y, r: 5 }),
  (x, y) => svg("circle", { class: "dot accent", cx: x, cy: y, r: 6 }),
  (x, y) => svg("path", { class: "dot ink", d: `M${x} ${y - 7.5}l7.5 7.5l-7.5 7.5l-7.5 -7.5z` }),
  (x, y) => svg("rect", { class: "dot accent", x: x - 5.5, y: y - 5.5, width: 11, height: 11 }),
  (x, y) => svg("path", { class: "dot accent", d: `M${x} ${y + 7}l7 -12.5h-14z` }),
  (x, y) => svg("path", { class: "dot ink", d: `M${x} ${y - 7}l7 12.5h-14z` }),
  (x, y) => svg("rect", { class: "ring", x: x - 4.5, y: y - 4.5, width: 9, height: 9 }),
  (x, y) => svg("path", { class: "line ink", d: `M${x - 4.5} ${y - 4.5}l9 9m0 -9l-9 9` }),
  (x, y) => svg("path", { class: "line ink", d: `M${x - 6} ${y}h12m-6 -6v12` }),
];

/** The mark of a protocol; of one that is not among the above, the last. */
export const mark = ({ name }, x, y) => MARKS.at(PROTOCOLS.indexOf(name))(x, y);

/**
 * @param {HTMLElement} box
 * @param {object[]} shown the attackers
 * @param {string[]} names the defenses
 */
export function dots(box, shown, names) {
  const width = box.clientWidth;
  if (width < 80) return;
  // Names stand beside their marks, or on a small screen above them.
  const narrow = width < 420, row = narrow ? 30 + 6 * shown.length : 34, left = narrow ? 26 : Math.min(150, width * 0.34), right = 16;
  const high = names.length * row + 40;
  const cells = shown.flatMap((protocol) => names.map((name) => protocol.rows[name]?.most).filter(Boolean));
  const most = Math.max(0.6, Math.ceil(Math.max(...cells.map(({ value, high: end }) => Math.max(value, end ?? 0))) * 20) / 20);
  const least = Math.min(0.5, ...cells.map(({ value, low }) => Math.floor((low ?? value) * 50) / 50));
  const x = (v) => left + ((v - least) / (most - least)) * (width - left - right);
  const nodes = [];
  for (let tick = 0.5; tick <= most + 1e-9; tick += most - 0.5 > 0.25 ? 0.1 : 0.05) {
    nodes.push(svg("line", { class: tick === 0.5 ? "axis" : "grid", x1: x(tick), x2: x(tick), y1: 0, y2: high - 36 }));
    nodes.push(svg("text", { x: x(tick), y: high - 18, "text-anchor": "middle" }, tick.toFixed(2)));
  }
  nodes.push(svg("text", { x: x(0.5), y: high - 2, "text-anchor": "middle" }, "guessing"));
  names.forEach((name, i) => {
    const y = i * row + row / 2;
    nodes.push(svg("text", { x: 0, y: narrow ? i * row + 15 : y + 4, class: OURS.test(name) ? "halo value" : "halo" }, methodTitle(name)));
    nodes.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y + row / 2, y2: y + row / 2 }));
    shown.forEach((protocol, k) => {
      const cited = protocol.rows[name]?.most;
      if (!cited) return;
      const offset = (k - (shown.length - 1) / 2) * 5 + (narrow ? 12 : 0);
      if (cited.low !== null) nodes.push(svg("line", { class: "line thin", x1: x(cited.low), x2: x(cited.high), y1: y + offset, y2: y + offset }));
      nodes.push(mark(protocol, x(cited.value), y + offset));
    });
  });
  const values = (name) => shown.filter(({ rows }) => rows[name]).map((protocol) => `${protocolTitle(protocol)} ${fixed(protocol.rows[name].most.value)}`);
  const text = `Success of attacks by defense. ${names.map((name) => `${methodTitle(name)}: ${values(name).join(", ")}`).join(". ")}.`;
  box.replaceChildren(
    el("ul", { class: "legend" }, ...shown.map((protocol) => entry({ name: protocolTitle(protocol), mark: mark(protocol, 13, 6) }))),
    el("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${high}`, height: high, role: "img", "aria-label": text }, svg("title", {}, text), ...nodes)),
  );
}
