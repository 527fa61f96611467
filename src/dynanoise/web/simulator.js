/** Section 6: one query through the three steps, its setting in the address. */

import { byId, copy, el, fixed, percent, segments, slider, svg } from "./dom.js";
import { server } from "./game.js";
import { answer, draws, logitsOf, sensitivity, spread, variance } from "./lib/dynanoise.js";
import { InputError, require } from "./lib/errors.js";
import { flipProbability } from "./lib/flips.js";
import { checkedLogits, entropy, logProbabilities, logSoftmax, matrixOf, softmax } from "./lib/numerics.js";
import { seeded } from "./lib/random.js";

export const DEFAULTS = { confidence: 0.9, classes: 10, s0: 0.1, lambda: 3, T: 4, width: 10, noise: "fresh" };
const NOISES = [{ value: "fresh", text: "Fresh" }, { value: "keyed", text: "Keyed" }];
const DRAWS = 400;
const BARS = [3, 10]; // below and beyond the width at which the sliders stand beside them
const MOST_LOGITS = 2000; // more would make every change of a slider wait
const LONGEST = 4000; // characters of logits in an address; servers refuse addresses beyond 8,000

const SLIDERS = {
  confidence: { label: "Confidence of the top class", min: 0.02, max: 0.999, step: 0.001, show: (v) => percent(v) },
  classes: { label: "Number of classes", min: 2, max: 100, step: 1, show: String },
  s0: { label: "Base variance s₀", min: 0, max: 2, step: 0.01, show: (v) => v.toFixed(2) },
  lambda: { label: "Sensitivity scale λ", min: 0, max: 10, step: 0.1, show: (v) => v.toFixed(1) },
  T: { label: "Temperature T", min: 0.5, max: 20, step: 0.1, show: (v) => v.toFixed(1) },
  width: { label: "Width Δ of a cell, logits", min: 0.5, max: 40, step: 0.5, show: (v) => v.toFixed(1) },
};

/** The setting that an address asks for; what is missing or no number is the default. */
export function settingOf(search) {
  const query = new URLSearchParams(search);
  const setting = { ...DEFAULTS, logits: query.get("logits") ?? "" };
  for (const [name, { min, max }] of Object.entries(SLIDERS)) {
    const value = query.get(name)?.trim() ? Number(query.get(name)) : NaN;
    if (Number.isFinite(value)) setting[name] = Math.min(max, Math.max(min, value));
  }
  setting.classes = Math.round(setting.classes);
  setting.noise = query.get("noise") === "keyed" ? "keyed" : "fresh";
  return setting;
}

/** The address of a setting: what differs from the defaults. */
export function searchOf(setting) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(DEFAULTS)) if (setting[name] !== value) query.set(name, String(setting[name]));
  if (setting.logits.trim() && fits(setting)) query.set("logits", numbersOf(setting.logits).join(","));
  const text = query.toString();
  return text ? `?${text}` : "";
}

const fits = ({ logits }) => logits.length <= LONGEST;
const numbersOf = (text) => text.replaceAll("\u2212", "-").split(/[\s,;\[\]()]+/).filter(Boolean);

/** The logits of a text. Throws InputError for what is none. */
function logitsIn(text) {
  const parts = numbersOf(text);
  require(
    parts.length <= MOST_LOGITS,
    `These are ${parts.length.toLocaleString("en")} logits.`,
    `Paste at most ${MOST_LOGITS.toLocaleString("en")}.`,
  );
  const odd = parts.find((part) => !Number.isFinite(Number(part)));
  require(odd === undefined, `The logits hold “${odd?.slice(0, 30)}”, which is not a finite number.`, "Separate numbers by commas or spaces.");
  return checkedLogits(parts.map(Number));
}

/** No top class of K has less than 1/K. */
const topOf = ({ confidence, classes }) => Math.max(confidence, 1 / classes);

/** The numbers of a setting. Throws InputError for text that is not logits. */
export function computed(setting) {
  const pasted = setting.logits.trim() !== "";
  const logits = pasted ? logitsIn(setting.logits) : logitsOf(topOf(setting), setting.classes);
  const keyed = setting.noise === "keyed"; // keeps labels, as in the results
  const parameters = { baseVariance: setting.s0, lambdaScale: setting.lambda, temperature: setting.T, keepLabel: keyed };
  const outputs = keyed
    ? matrixOf([server({ ...setting, keepLabel: true }, "keyed", logits.length, null)(logits)])
    : draws(logits, parameters, seeded("simulator"), DRAWS);
  const many = spread(outputs, 0.9);
  const smooth = answer(logits, { ...parameters, baseVariance: 0 }, []);
  return {
    pasted, keyed, logits, before: softmax(logits), smooth, ...many,
    H: entropy(logSoftmax(logits)), R: sensitivity(logits), variance: variance(logits, parameters),
    out: entropy(logProbabilities(many.mean)),
    flips: flipProbability(logits, parameters),
  };
}

/** A small chance, which would be rounded to 0, as "<0.01%". */
const chance = (value) => (value > 0 && value < 0.00005 ? "<0.01%" : percent(value, 2));

export const riskOf = (R) => (R < 1 / 3 ? "low" : R < 2 / 3 ? "medium" : "high");

export function start() {
  const setting = settingOf(location.search);
  const controls = {};
  const confidence = { ...SLIDERS.confidence, show: (v) => percent(topOf({ ...setting, confidence: v })) };
  for (const [name, about] of Object.entries({ ...SLIDERS, confidence })) {
    controls[name] = slider({ ...about, value: setting[name], id: `sim-${name}` }, (value) => { setting[name] = value; changed(); });
    setting[name] = controls[name].value; // a step of the slider
    byId("sim-sliders").append(el("div", { class: "slider" }, ...controls[name].parts));
  }
  const noise = segments(byId("sim-noise"), NOISES, setting.noise, (value) => { setting.noise = value; changed(); });
  const pasted = byId("sim-logits");
  pasted.value = setting.logits;
  byId("sim-own").open = setting.logits !== "";
  pasted.addEventListener("input", () => { setting.logits = pasted.value; changed(); });
  const status = byId("sim-said");
  byId("sim-link").addEventListener("click", () => copy(location.origin + location.pathname + searchOf(setting) + "#simulator", status, fits(setting) ? "The link was" : "The link, without so many logits, was"));
  byId("sim-yaml").addEventListener("click", () => copy(yamlOf(setting), status, "defense.yaml was"));
  byId("sim-form").addEventListener("submit", (event) => event.preventDefault());
  byId("sim-form").addEventListener("reset", (event) => {
    event.preventDefault();
    take({ ...DEFAULTS, logits: "" });
    status.textContent = "";
    changed();
  });
  addEventListener("popstate", () => {
    // What was not written yet is newer than the address.
    if (timer) write();
    else if (searchOf(settingOf(location.search)) !== searchOf(setting)) {
      take(settingOf(location.search));
      show();
    }
  });
  new ResizeObserver(() => last && bars(last)).observe(byId("sim-bars"));

  let timer = 0, last = null;
  function changed() {
    clearTimeout(timer);
    timer = setTimeout(write, 150);
    show();
  }
  function write() {
    clearTimeout(timer);
    timer = 0;
    history.replaceState(history.state, "", location.pathname + searchOf(setting) + location.hash);
  }
  /** Moves every control to another setting. */
  function take(other) {
    Object.assign(setting, other);
    for (const name of Object.keys(SLIDERS)) {
      controls[name].set(setting[name]);
      setting[name] = controls[name].value;
    }
    noise.set(NOISES, setting.noise);
    pasted.value = setting.logits;
  }
  function show() {
    let wrong = "";
    try {
      last = computed(setting);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      wrong = `${error.message} Until then the numbers are those of the sliders.`;
      last = computed({ ...setting, logits: "" });
    }
    if (byId("sim-wrong").textContent !== wrong) byId("sim-wrong").textContent = wrong;
    pasted.setAttribute("aria-invalid", String(wrong !== ""));
    controls.confidence.set(setting.confidence);
    controls.width.input.disabled = !last.keyed;
    controls.confidence.input.disabled = controls.classes.input.disabled = last.pasted;
    byId("sim-yaml-text").textContent = yamlOf(setting);
    stats(last);
    bars(last);
  }
  show();
}

function stats(now) {
  const level = riskOf(now.R);
  const items = [
        ["sim-R", [fixed(now.R, 4), " ", el("span", { class: "risk", "data-level": level }, `${level} risk`)], "sensitivity R"],
    ["sim-variance", fixed(now.variance, 4), "variance σ² of the noise"],
    ["sim-flips", chance(now.flips.value), "chance that the label changes"],
    ["sim-H", fixed(now.H, 4), "entropy H before, nats"],
    ["sim-out", fixed(now.out, 4), now.keyed ? "entropy of the output, nats" : "entropy of the mean output, nats"],
    ["sim-top", `${percent(Math.max(...now.before))} → ${percent(now.smooth[now.before.indexOf(Math.max(...now.before))])}`, "top class, by smoothing alone"],
  ];
  byId("sim-stats").replaceChildren(
    ...items.map(([id, value, about]) => el("div", {}, el("dt", {}, about), el("dd", { id }, ...[value].flat()))),
  );
}

function bars(now) {
  const box = byId("sim-bars");
  const width = box.clientWidth;
  if (width < 80) return;
  const order = [...now.before.keys()].sort((a, b) => now.before[b] - now.before[a]).slice(0, BARS[matchMedia("(max-width: 60rem)").matches ? 0 : 1]);
  const row = 38, left = 62, right = 30, high = order.length * row + 26;
  const x = (p) => left + p * (width - left - right);
  const nodes = [];
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    nodes.push(svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 0, y2: high - 22 }));
    nodes.push(svg("text", { x: x(tick), y: high - 4, "text-anchor": "middle" }, percent(tick, 0)));
  }
  order.forEach((k, i) => {
    const y = i * row + 4;
    // Beside its bars, or below the longer one where that leaves no room.
    const inside = x(Math.max(now.before[k], now.high[k])) + 110 > width;
    nodes.push(svg("text", { x: left - 10, y: y + 20, "text-anchor": "end" }, `class ${k}`));
    nodes.push(svg("rect", { class: "bar-fill", x: x(0), y, width: Math.max(1, x(now.before[k]) - x(0)), height: 12, rx: 2 }));
    nodes.push(svg("rect", { class: "bar-fill accent", x: x(0), y: y + 15, width: Math.max(1, x(now.mean[k]) - x(0)), height: 12, rx: 2 }));
    if (!now.keyed) nodes.push(svg("line", { class: "line ink thin", x1: x(now.low[k]), x2: x(now.high[k]), y1: y + 21, y2: y + 21 }));
    for (const end of now.keyed ? [] : [now.low[k], now.high[k]]) nodes.push(svg("line", { class: "line ink thin", x1: x(end), x2: x(end), y1: y + 17, y2: y + 25 }));
    const end = inside ? x(1) : x(Math.max(now.before[k], now.high[k]));
    nodes.push(svg("text", { x: end + (inside ? -8 : 8), y: inside ? y + 26 : y + 18, "text-anchor": inside ? "end" : "start", class: i ? "" : "value" }, `${percent(now.before[k])} → ${percent(now.mean[k])}`));
  });
  const text = `Answer before and after: class ${order[0]} falls from ${percent(now.before[order[0]])} to ${percent(now.mean[order[0]])} ${now.keyed ? "whenever it is repeated" : "on average"}.`;
  const legend = [["bar-fill", "before"], ["bar-fill accent", now.keyed ? "after, the same for every repetition" : "after, mean"]].map(([style, name]) =>
    el("li", {}, el("span", { class: "chart" }, svg("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" }, svg("rect", { width: 26, height: 11, rx: 2, class: style }))), name));
  if (!now.keyed) legend.push(el("li", {}, el("span", { class: "chart" }, svg("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" }, svg("path", { d: "M1 6H25M1 2V10M25 2V10", class: "line ink thin" }))), "90% of outputs"));
  box.replaceChildren(
    el("ul", { class: "legend" }, ...legend),
    el("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${high}`, height: high, role: "img", "aria-label": text }, svg("title", {}, text), ...nodes)),
  );
  const rest = now.before.length - order.length;
  byId("sim-note").textContent = `${now.keyed ? "One output under a key that stands in this page: another key gives another. Inputs chosen by earlier outputs undo it." : `${DRAWS} draws of the noise.`}${rest ? ` ${rest} more classes are not drawn.` : ""} The risk label is this page’s: R below one third is low, above two thirds high; it says how certain the output is, not what an attacker finds. The chance of a changed label is ${now.flips.exact ? "exact" : "estimated"}.`;
}

/** A number as YAML that every reader takes for a float. */
function float(value) {
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/**
 * A setting as defense.yaml, as `dynanoise` reads it (docs/deploy.md).
 * Under keyed noise the digest of the model is left to the reader: it is refused until it is filled in.
 * @param {{ s0: number, lambda: number, T: number, noise: string, width: number }} setting
 */
function yamlOf(setting) {
  const keyed = setting.noise === "keyed";
  return [
    "# How answers are defended (dynanoise). Holds no secret: noise.key says where it is.",
    "version: 1",
    "defense:",
    "  name: dynanoise",
    `  base_variance: ${float(setting.s0)}`,
    `  lambda_scale: ${float(setting.lambda)}`,
    `  temperature: ${float(setting.T)}`,
    "  samples: 1",
    "  sensitivity: entropy",
    `  keep_label: ${keyed}`,
    "class_axis: -1",
    "input: logits",
    "noise:",
    `  name: ${setting.noise}`,
    ...(keyed ? [`  cell_width: ${float(setting.width)}`, "  model: my-model", "  weights: SHA256  # sha256sum of the model's file", "  key: env:DYNANOISE_KEY  # dynanoise key new"] : []),
    "",
  ].join("\n");
}
