/** Section 4: a real query, asked again and again. */

import { chart, entry } from "./chart.js";
import { dataTitle } from "./data.js";
import { byId, digits, el, fixed, percent, segments, slider, svg } from "./dom.js";
import { attacker, MOST } from "./game.js";
import { sigma } from "./lib/dynanoise.js";
import { argmax, centred, softmax } from "./lib/numerics.js";
import { anew, below } from "./lib/random.js";
import { gameOf } from "./method.js";

const NOISE = [{ value: "fresh", text: "Fresh" }, { value: "keyed", text: "Keyed" }];
const QUESTIONS = [
  { value: "same", text: "The same query" },
  { value: "near", text: "Near-duplicates" },
  { value: "pairs", text: "Shifts in pairs", title: "For an attacker who can move the logits at will" },
];
const STYLES = { fresh: "accent", "keyed same": "ink", "keyed near": "dashed ink", "keyed pairs": "dotted ink" };
const nameOf = (mode) => `${mode.noise === "fresh" ? "Fresh" : "Keyed"}, ${{ same: "same query", near: "near-duplicates", pairs: "shifts in pairs" }[mode.question]}`;

export function start(data) {
  const samples = data.samples;
  if (!samples) {
    byId("attacker").remove();
    return;
  }
  const setting = gameOf(data);
  const mode = { noise: "fresh", question: "same" };
  const generator = anew();
  let row = typical(samples), game = null, past = new Map();

  segments(byId("att-noise"), NOISE, mode.noise, (value) => { mode.noise = value; begin(); });
  segments(byId("att-question"), QUESTIONS, mode.question, (value) => { mode.question = value; begin(); });
  for (const [id, times] of [["att-one", 1], ["att-ten", 10], ["att-hundred", 100]]) {
    byId(id).addEventListener("click", () => { game.ask(times); show(); });
  }
  byId("att-again").addEventListener("click", () => { past = new Map(); begin(); });
  byId("att-other").addEventListener("click", () => { row = below(generator, samples.rows); past = new Map(); begin(); });
  const sliders = [
    ["s0", { label: "Base variance s₀", min: 0.01, max: 2, step: 0.01, show: (v) => v.toFixed(2) }],
    ["lambda", { label: "Sensitivity scale λ", min: 0, max: 10, step: 0.1, show: (v) => v.toFixed(1) }],
    ["T", { label: "Temperature T", min: 0.5, max: 20, step: 0.1, show: (v) => v.toFixed(1) }],
    ["width", { label: "Width Δ of a cell, logits", min: 1, max: 40, step: 0.5, show: (v) => v.toFixed(1) }],
    ["near", { label: "Near-duplicates move a logit by", min: 0.1, max: 10, step: 0.1, show: (v) => v.toFixed(1) }],
  ];
  for (const [name, about] of sliders) {
    const control = slider({ ...about, value: setting[name] }, (value) => { setting[name] = value; past = new Map(); begin(); });
    byId("att-settings").append(el("div", { class: "slider" }, ...control.parts));
  }

  const errors = chart(byId("att-error"), {
    x: { label: "queries asked", domain: [1, MOST], log: true, ticks: [1, 10, 100, 1000], text: (v) => Math.round(v).toLocaleString("en") },
    y: { label: "error of the estimate, logits", domain: [0.005, 50], log: true, ticks: [0.01, 0.1, 1, 10], text: (v) => digits(v, 2), mark: String },
    height: 330,
  });

  function begin() {
    // A game that was played stays in the picture, to be compared with.
    if (game && game.errors.length) past.set(game.name, game);
    game = attacker(samples.row(row), mode, setting, generator);
    game.name = nameOf(mode);
    game.style = mode.noise === "fresh" ? STYLES.fresh : STYLES[`keyed ${mode.question}`];
    past.delete(game.name);
    show();
  }

  function show() {
    const logits = samples.row(row);
    const count = game.errors.length;
    const spread = sigma(logits, { baseVariance: setting.s0, lambdaScale: setting.lambda, temperature: setting.T });
    const run = data.runs.find((other) => other.folder === samples.folder);
    byId("att-query").textContent =
      `${dataTitle(run.dataset)}, record ${samples.ids[row]}, class ${samples.labels[row]}, ${samples.members[row] ? "a member of" : "not among"} the training records of network ${samples.models[row]}, which says class ${argmax(logits)} with ${percent(Math.max(...softmax(logits)))}. The noise has σ = ${fixed(spread, 2)} logits.`;
    for (const id of ["att-one", "att-ten", "att-hundred"]) byId(id).setAttribute("aria-disabled", String(count >= MOST));
    estimate(byId("att-estimate"), logits, count ? game.estimate.mean : null);
    const curves = [...past.values(), game].filter(({ errors }) => errors.length)
      .map(({ name, style, errors }) => ({ name, style, points: thinned(errors), dots: errors.length === 1 }));
    const single = spread * Math.sqrt((logits.length - 1) / logits.length);
    errors.draw(
      [...curves, { name: "one output’s noise / √Q", style: "thin dotted", points: [1, 10, 100, 1000, MOST].map((q) => [q, single / Math.sqrt(q)]) }],
      count ? `Error of the estimate after ${count} queries: ${digits(game.errors.at(-1))} logits.` : "Nothing has been asked yet.",
    );
    byId("att-verdict").replaceChildren(...verdict(mode, game, spread, setting));
  }
  begin();
}

/** The member whose certainty is in the middle. */
function typical(samples) {
  const gap = (i) => { const [a, b] = [...samples.row(i)].sort((x, y) => y - x); return a - b; };
  const members = [...samples.members.keys()].filter((i) => samples.members[i] && argmax(samples.row(i)) === samples.labels[i]);
  return members.sort((a, b) => gap(a) - gap(b))[members.length >> 1];
}

function verdict(mode, game, spread, setting) {
  const count = game.errors.length;
  if (!count) return ["Press ", el("b", {}, "Once"), " for the first output.", {
    same: "",
    near: ` A near-duplicate is modelled: every logit is moved by normal numbers of standard deviation ${fixed(setting.near, 1)}, which you do not know.`,
    pairs: " Shifts in pairs are for an attacker who can move the logits at will, and knows by how much.",
  }[mode.question]];
  const error = el("b", { id: "att-rms" }, digits(game.errors.at(-1)));
  const asked = `After ${count.toLocaleString("en")} ${count === 1 ? "query" : "queries"} the estimate is wrong by `;
  const rest = {
    "fresh same": ` logits (root mean square); one output’s noise has ${fixed(spread, 2)}. Fresh noise averages out as 1/√Q.`,
    "fresh near": " logits. The near-duplicates’ own distances average out as well; under fresh noise they are not even needed.",
    "fresh pairs": " logits. Under fresh noise nothing of this is needed: the same query would do.",
    "keyed same": ` logits. ${count > 1 ? "Every output was the same, bit for bit" : "Ask again: every output will be the same, bit for bit"}. What is left are the noise of this cell and its width, ${fixed(setting.width, 1)}.`,
    "keyed near": ` logits. Each near-duplicate that falls into another cell brings new noise to average, so the noise goes; it cost ${count} different queries. What the cells’ width hides goes only as far as the near-duplicates reach into other cells.`,
    "keyed pairs": " logits. An attacker who can move the logits by known amounts, over several cells, gets them back at every width. Keyed noise does not claim otherwise.",
  }[`${mode.noise} ${mode.question}`];
  return [asked, error, rest, count < MOST ? "" : " This page asks no further; start over."];
}

/** At most 160 points, evenly spaced on a logarithmic axis. */
function thinned(errors) {
  const at = new Set([1, errors.length]);
  for (let i = 0; i <= 160; i++) at.add(Math.round(errors.length ** (i / 160)));
  return [...at].sort((a, b) => a - b).map((count) => [count, errors[count - 1]]);
}

function estimate(box, logits, mean) {
  const width = Math.max(220, box.clientWidth || 480), height = 330, left = 40, bottom = height - 44;
  const clean = centred(logits);
  const most = Math.max(...clean.map(Math.abs), ...(mean ?? [0]).map(Math.abs));
  const tick = most > 15 ? 10 : 5;
  const reach = Math.ceil(most / tick) * tick;
  const y = (v) => 28 + ((reach - v) / (2 * reach)) * (bottom - 28);
  const step = (width - left - 10) / clean.length;
  const x = (k) => left + (k + 0.5) * step;
  const nodes = [];
  for (let v = -reach; v <= reach; v += tick) {
    nodes.push(svg("line", { class: v ? "grid" : "axis", x1: left, x2: width - 10, y1: y(v), y2: y(v) }));
    nodes.push(svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, fixed(v, 0)));
  }
  clean.forEach((value, k) => {
    if (mean) nodes.push(svg("line", { class: "line accent thin", x1: x(k), x2: x(k), y1: y(value), y2: y(mean[k]) }));
    nodes.push(svg("circle", { class: "ring", cx: x(k), cy: y(value), r: Math.min(7.5, step / 3) }));
    if (mean) nodes.push(svg("circle", { class: "dot accent", cx: x(k), cy: y(mean[k]), r: Math.min(5, step / 4) }));
    if (step > 18 || k % 5 === 0) nodes.push(svg("text", { x: x(k), y: height - 26, "text-anchor": "middle" }, String(k)));
  });
  nodes.push(svg("text", { x: (left + width - 10) / 2, y: height - 6, "text-anchor": "middle" }, "class"));
  const text = mean ? "Estimated beside clean logits, by class." : "Clean logits by class; nothing asked yet.";
  const mark = (style) => svg("circle", { cx: 13, cy: 6, r: style === "ring" ? 6 : 5, class: style });
  box.replaceChildren(
    el("ul", { class: "legend" }, entry({ name: "clean, hidden from you", mark: mark("ring") }), entry({ name: "your estimate", mark: mark("dot accent") })),
    el("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": text }, svg("title", {}, text), svg("text", { x: 0, y: 12 }, "logit, centred"), ...nodes)),
  );
}
