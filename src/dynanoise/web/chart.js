/** Line charts as SVG: they print, follow the colours of the page, and can be read by a screen reader. */

import { el, svg } from "./dom.js";

/**
 * @typedef {{ label: string, domain: [number, number], log?: boolean, ticks: number[], text?: (value: number) => string, mark?: (tick: number) => string }} Axis
 * @typedef {{ name: string, points: [number, number][], style?: string, dots?: boolean, hide?: boolean }} Series
 */

const LEFT = 48, RIGHT = 14, TOP = 28, BOTTOM = 44;

/**
 * A chart that redraws itself when its box changes.
 * @param {HTMLElement} box
 * @param {{ x: Axis, y: Axis, height?: number, square?: boolean }} about
 * @returns {{ draw(series: Series[], description: string, extra?: (at: object) => Node[], marks?: object[]): void }}
 */
export function chart(box, about) {
  const legend = el("ul", { class: "legend" });
  const plot = el("div", { class: "chart" });
  const tip = el("div", { class: "tip", hidden: true });
  box.append(legend, plot);
  let content = null, width = 0;

  function draw() {
    if (!content || width < 60) return;
    const { series, description, extra } = content;
    const height = about.square ? Math.min(width, 400) : about.height ?? 280;
    const x = scale(about.x, LEFT, width - RIGHT), y = scale(about.y, height - BOTTOM, TOP);
    const nodes = [svg("title", {}, description), ...axes(about, x, y, width, height)];
    const place = { x, y, width, height, bottom: height - BOTTOM, left: LEFT, right: width - RIGHT };
    if (extra) nodes.push(...extra(place));
    for (const item of series) {
      const inside = item.points.filter(([, v]) => Number.isFinite(v));
      const d = inside.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
      nodes.push(svg("path", { d, class: `line ${item.style ?? ""}` }));
      if (item.dots) nodes.push(...inside.map(([a, b]) => svg("circle", { cx: x(a), cy: y(b), r: 4.5, class: `dot ${item.style ?? ""}` })));
    }
    const line = svg("line", { class: "hover", y1: TOP, y2: height - BOTTOM, visibility: "hidden" });
    nodes.push(line);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": description }, ...nodes);
    picture.addEventListener("pointermove", (event) => point(event, series, x, line));
    picture.addEventListener("pointerleave", () => { tip.hidden = true; line.setAttribute("visibility", "hidden"); });
    plot.replaceChildren(picture, tip);
  }

  function point(event, series, x, line) {
    const where = event.clientX - plot.getBoundingClientRect().left;
    const all = series.filter((item) => !item.hide && item.points.length > 1);
    if (!all.length) return;
    const nearest = all[0].points.reduce((a, b) => (Math.abs(x(b[0]) - where) < Math.abs(x(a[0]) - where) ? b : a))[0];
    const text = about.y.text ?? ((value) => value.toFixed(3));
    const lines = all.map((item) => `${item.name}: ${text(value(item.points, nearest))}`);
    const head = `${about.x.label.split(",")[0]} ${(about.x.text ?? String)(Number.isInteger(nearest) ? nearest : Number(nearest.toPrecision(3)))}`;
    tip.textContent = [head, ...lines].join("\n");
    tip.hidden = false;
    const left = x(nearest);
    line.setAttribute("x1", left);
    line.setAttribute("x2", left);
    line.setAttribute("visibility", "visible");
    const flip = left + tip.offsetWidth + 16 > width;
    tip.style.left = `${Math.max(0, flip ? left - tip.offsetWidth - 8 : left + 8)}px`;
  }

  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now !== width) { width = now; draw(); }
  }).observe(plot);

  return {
    draw(series, description, extra, marks = []) {
      content = { series, description, extra };
      const entries = [...series.filter((item) => !item.hide), ...marks];
      legend.replaceChildren(...(entries.length > 1 ? entries.map(entry) : []));
      width = Math.round(plot.clientWidth);
      draw();
    },
  };
}

/** One entry of a legend. */
export function entry(item) {
  const mark = item.mark ?? svg("line", { x1: 0, x2: 26, y1: 6, y2: 6, class: `line ${item.style ?? ""}` });
  return el("li", {}, el("span", { class: "chart" }, svg("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" }, mark)), item.name);
}

/** A scale from values to pixels; logarithmic ones take what is too small to the edge. */
export function scale(axis, from, to) {
  const f = axis.log ? (value) => Math.log10(Math.max(value, axis.domain[0])) : (value) => value;
  const [low, high] = axis.domain.map(f);
  return (value) => from + ((f(value) - low) / (high - low)) * (to - from);
}

function axes(about, x, y, width, height) {
  const nodes = [];
  for (const tick of about.y.ticks) {
    const at = y(tick);
    nodes.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
    nodes.push(svg("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, (about.y.mark ?? about.y.text ?? String)(tick)));
  }
  for (const tick of about.x.ticks) {
    nodes.push(svg("text", { x: x(tick), y: height - BOTTOM + 18, "text-anchor": "middle" }, (about.x.text ?? String)(tick)));
  }
  nodes.push(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }));
  nodes.push(svg("text", { x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" }, short(about.x.label, width)));
  nodes.push(svg("text", { x: 0, y: 12 }, about.y.label));
  return nodes;
}

/** A label without its part after the comma, where there is no room for it. */
const short = (label, width) => (6.4 * label.length > width ? label.split(",")[0] : label);

/** The value at x of a polyline with ascending x: linear between points, the ends beyond them. */
function value(points, at) {
  const right = points.findIndex(([a]) => a >= at);
  if (right <= 0) return points[right === 0 ? 0 : points.length - 1][1];
  const [a, b] = points[right - 1], [c, d] = points[right];
  return c === a ? d : b + ((d - b) * (at - a)) / (c - a);
}
