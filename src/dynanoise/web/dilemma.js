/** Section 2: what each defense costs and hides, before and after the attacker knows it. */

import { methodTitle, protocolTitle } from "./data.js";
import { byId, el, fixed, segments, svg } from "./dom.js";
import { OURS, mark } from "./dots.js";

const LEFT = 40, RIGHT = 20, TOP = 28, BOTTOM = 44, HEIGHT = 380;
const WIDE = 7.8; // of a letter, at most
const LEFT_OUT = ["cells", "dynanoise_tuned", "static"]; // beside DynaNoise they would be on top of it

export function start(data) {
  const set = data.sets.get("cifar10");
  const shown = ["paper", "adaptive_16"].map((name) => set?.protocols.find((protocol) => protocol.name === name));
  if (!shown.every(Boolean)) {
    byId("dilemma").remove();
    return;
  }
  const rows = shown.map((protocol) => protocol.rows);
  const names = Object.keys(rows[0]).filter((name) => name in rows[1] && !LEFT_OUT.includes(name));
  const box = byId("dilemma-chart");
  let place = 0;
  const draw = () => picture(box, shown, names, place);
  segments(byId("dilemma-attacker"), shown.map((protocol, i) => ({ value: String(i), text: protocolTitle(protocol) })), "0", (value) => { place = Number(value); draw(); });
  new ResizeObserver(draw).observe(box);
}

function picture(box, shown, names, place) {
  const width = box.clientWidth;
  if (width < 80) return;
  const points = (of) => names.map((name) => ({ name, x: of.rows[name].utility.accuracy.value, y: of.rows[name].most.value }));
  const both = shown.flatMap(points), now = points(shown[place]);
  const low = Math.floor(20 * Math.min(...both.map((point) => point.x))) / 20, top = Math.ceil(20 * Math.max(...both.map((point) => point.x))) / 20;
  const most = Math.ceil(10 * Math.max(...both.map((point) => point.y))) / 10;
  const x = (v) => LEFT + ((v - low) / (top - low)) * (width - LEFT - RIGHT);
  const y = (v) => HEIGHT - BOTTOM - ((v - 0.47) / (most - 0.47)) * (HEIGHT - BOTTOM - TOP);
  const nodes = [];
  for (let tick = 0.5; tick < most + 0.01; tick += 0.1) {
    nodes.push(svg("line", { class: tick === 0.5 ? "axis" : "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    nodes.push(svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(1)));
  }
  for (let tick = low; tick < top + 0.001; tick += 0.05) nodes.push(svg("text", { x: x(tick), y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, tick.toFixed(2)));
  nodes.push(svg("text", { x: 0, y: 12 }, "attack success (0.5: guessing)"));
  nodes.push(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "test accuracy"));
  const words = labels(now.map((point) => ({ ...point, text: methodTitle(point.name), at: x(point.x), up: y(point.y) })), width);
  nodes.push(...words.flatMap(({ line }) => (line ? [svg("line", { class: "grid", ...line })] : [])));
  nodes.push(...now.map((point) => mark(shown[place], x(point.x), y(point.y))));
  nodes.push(...words.map(({ text, name, at, anchor, base }) => svg("text", { x: at, y: base, "text-anchor": anchor, class: OURS.test(name) ? "halo value" : "halo" }, text)));
  const text = `${protocolTitle(shown[place])}, accuracy and attack success. ${now.map((point) => `${methodTitle(point.name)}: ${fixed(point.x)}, ${fixed(point.y)}`).join("; ")}.`;
  box.replaceChildren(el("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": text }, svg("title", {}, text), ...nodes)));
}

/** Places of the names: beside their points, or moved away from each other with a line to the point. */
function labels(points, width) {
  const taken = points.map(({ at, up }) => [at - 9, up - 9, at + 9, up + 9]);
  const free = ([a, b, c, d]) => a >= 0 && c <= width && b >= TOP - 8 && d <= HEIGHT - BOTTOM + 2 && taken.every(([e, f, g, h]) => c <= e || g <= a || d <= f || h <= b);
  return points.map(({ name, text, at, up }) => {
    const long = WIDE * text.length;
    for (let far = 0; far < 260; far += 4) {
      const sides = [far, -far].flatMap((away) => [["end", at - 14, up + 4 - away], ["start", at + 14, up + 4 - away]]);
      for (const [anchor, x, base] of [...sides, ["middle", at, up - 14 - far], ["middle", at, up + 22 + far]]) {
        const left = x - long * { start: 0, middle: 0.5, end: 1 }[anchor];
        const area = [left, base - 13, left + long, base + 4];
        if (!free(area)) continue;
        taken.push(area);
        return { name, text, at: x, anchor, base, line: far > 12 && { x1: at, y1: up, x2: x, y2: base - 4 } };
      }
    }
    return { name, text, at: 0, anchor: "start", base: up };
  });
}
