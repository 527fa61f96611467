/** DynaNoise (Forough & Haddadi, PoPETs 2026, arXiv:2505.13362v2), as the Python package has it. */

import { InputError, require, shown } from "./errors.js";
import {
  argmax,
  centred,
  checkedLogits,
  entropy,
  exchangeTop,
  favour,
  logSoftmax,
  maximum,
  shift,
  softmax,
} from "./numerics.js";
import { normals as drawn } from "./random.js";

/** @typedef {import("./numerics.js").Row} Row */
/** @typedef {import("./numerics.js").Matrix} Matrix */

/**
 * @typedef {object} Parameters
 * @property {number} baseVariance s0 >= 0, in squared logits.
 * @property {number} lambdaScale lambda >= 0, how much more noise a certain answer gets.
 * @property {number} temperature T > 0.
 * @property {number} samples M >= 1, draws averaged for one answer.
 * @property {string} sensitivity one of SENSITIVITIES.
 * @property {boolean} keepLabel whether the answer's label is always the model's own.
 */

/** How exposed an answer is, in [0, 1]: functions of a row of logits. */
export const SENSITIVITIES = {
  /** R = 1 - H(softmax(z)) / ln K, the paper's. @param {Row} logits */
  entropy: (logits) => clipped(1 - entropy(logSoftmax(logits)) / Math.log(logits.length)),
  /** (max p - 1/K) / (1 - 1/K). @param {Row} logits */
  max_probability: (logits) => {
    const chance = 1 / logits.length;
    return clipped((maximum(softmax(logits)) - chance) / (1 - chance));
  },
  /** p(1) - p(2). @param {Row} logits */
  margin: (logits) => {
    const [first, second] = softmax(logits).sort().reverse();
    return first - second;
  },
};

/** @param {number} value */
const clipped = (value) => Math.min(Math.max(value, 0), 1);

const DEFAULTS = {
  baseVariance: 0.3,
  lambdaScale: 2,
  temperature: 10,
  samples: 1,
  sensitivity: "entropy",
  keepLabel: false,
};

/**
 * The defaults (the CIFAR-10 setting of the PoPETs 2026 artifact) with some changes, checked.
 * @param {Partial<Parameters>} changes
 * @returns {Readonly<Parameters>}
 */
export function parametersOf(changes = {}) {
  const unknown = Object.keys(changes).filter((name) => !(name in DEFAULTS));
  require(
    unknown.length === 0,
    `DynaNoise has no parameter ${shown(unknown[0])}.`,
    `Known: ${Object.keys(DEFAULTS).join(", ")}.`,
  );
  const parameters = { ...DEFAULTS, ...changes };
  for (const [name, bound] of [
    ["baseVariance", "of at least 0"],
    ["lambdaScale", "of at least 0"],
    ["temperature", "above 0"],
  ]) {
    const value = parameters[name];
    const good = Number.isFinite(value) && (name === "temperature" ? value > 0 : value >= 0);
    require(good, `${name} is ${shown(value)}.`, `Use a finite number ${bound}.`);
  }
  require(
    Number.isSafeInteger(parameters.samples) && parameters.samples >= 1,
    `samples is ${shown(parameters.samples)}.`,
    "Use an integer of at least 1.",
  );
  require(
    Number.isFinite(parameters.baseVariance * (1 + parameters.lambdaScale)),
    `baseVariance ${parameters.baseVariance} with lambdaScale ${parameters.lambdaScale} gives an infinite variance.`,
    "Use smaller values.",
  );
  require(
    typeof parameters.keepLabel === "boolean",
    `keepLabel is ${shown(parameters.keepLabel)}.`,
    "Use true or false.",
  );
  measure(parameters.sensitivity);
  return Object.freeze(parameters);
}

/** @param {string} name */
function measure(name) {
  if (!Object.hasOwn(SENSITIVITIES, name)) {
    throw new InputError(
      `There is no sensitivity ${shown(name)}.`,
      `Known: ${Object.keys(SENSITIVITIES).join(", ")}.`,
    );
  }
  return SENSITIVITIES[name];
}

/**
 * R of a row of logits.
 * @param {Row} logits finite, K >= 2.
 * @param {string} name of the measure.
 * @returns {number} in [0, 1]
 */
export function sensitivity(logits, name = "entropy") {
  return measure(name)(checkedLogits(logits));
}

/**
 * sigma^2 = s0 (1 + lambda R).
 * @param {Row} logits
 * @param {Partial<Parameters>} parameters
 * @returns {number}
 */
export function variance(logits, parameters) {
  const set = parametersOf(parameters);
  return set.baseVariance * (1 + set.lambdaScale * sensitivity(logits, set.sensitivity));
}

/**
 * The standard deviation of the noise on each logit.
 * @param {Row} logits
 * @param {Partial<Parameters>} parameters
 * @returns {number}
 */
export function sigma(logits, parameters) {
  return Math.sqrt(variance(logits, parameters));
}

/**
 * One answer: the mean over draws of softmax((z + sigma n) / T).
 *
 * @param {Row} logits the model's own, finite, K >= 2.
 * @param {Partial<Parameters>} parameters
 * @param {Row} normals `samples * K` standard normals, draw by draw; not used without variance.
 * @param {Row} base what the noise is added to: the logits, or the representative of their cell.
 * @returns {Float64Array} probabilities.
 */
export function answer(logits, parameters, normals, base = logits) {
  const set = parametersOf(parameters);
  const clean = checkedLogits(logits);
  const shifted = shift(checkedLogits(base));
  const classes = clean.length;
  const draws = set.baseVariance > 0 ? set.samples : 0;
  require(
    draws === 0 || normals.length === draws * classes,
    `There are ${draws && normals.length} normals for ${draws} draws of ${classes} classes.`,
    `Pass ${draws * classes} of them.`,
  );
  const spread = sigma(base, set);
  const total = new Float64Array(classes);
  let noisy = shifted;
  for (let draw = 0; draw < Math.max(draws, 1); draw++) {
    if (draws) noisy = shifted.map((value, i) => value + spread * normals[draw * classes + i]);
    softmax(noisy, set.temperature).forEach((value, i) => (total[i] += value));
  }
  const mean = total.map((value) => value / Math.max(draws, 1));
  const own = argmax(clean);
  if (set.keepLabel) return favour(exchangeTop(mean, own), own);
  return draws > 1 ? mean : favour(mean, argmax(noisy));
}

/**
 * T ln p, centred: of an answer with one sample exactly the noisy logits up to a constant.
 * @param {Row} logProbs
 * @param {number} temperature
 * @returns {Float64Array}
 */
export function undo(logProbs, temperature) {
  return centred(logProbs).map((value) => temperature * value);
}

/**
 * ln p of an answer that gives its top class, the first, `confidence` and the rest the same each.
 * @param {number} confidence in (0, 1).
 * @param {number} classes K >= 2.
 * @returns {Float64Array}
 */
export function logitsOf(confidence, classes) {
  require(
    Number.isSafeInteger(classes) && classes >= 2,
    `The number of classes is ${shown(classes)}.`,
    "Use an integer of at least 2.",
  );
  require(
    confidence > 0 && confidence < 1,
    `The confidence is ${shown(confidence)}.`,
    "Use a number between 0 and 1.",
  );
  const rest = (1 - confidence) / (classes - 1);
  return Float64Array.from({ length: classes }, (_, i) => Math.log(i ? rest : confidence));
}

/**
 * Answers to one query under fresh noise.
 * @param {Row} logits
 * @param {Partial<Parameters>} parameters
 * @param {import("./random.js").Generator} generator
 * @param {number} count how many.
 * @returns {Matrix} probabilities [count, K].
 */
export function draws(logits, parameters, generator, count) {
  const set = parametersOf(parameters);
  const classes = logits.length;
  const values = new Float64Array(count * classes);
  const needed = set.baseVariance > 0 ? set.samples * classes : 0;
  for (let i = 0; i < count; i++) {
    values.set(answer(logits, set, drawn(generator, needed)), i * classes);
  }
  return { rows: count, classes, values };
}

/**
 * The mean of each column, and the quantiles between which a share `level` of it lies.
 * @param {Matrix} matrix of one row or more.
 * @param {number} level in (0, 1).
 * @returns {{ mean: Float64Array, low: Float64Array, high: Float64Array }} rows.
 */
export function spread(matrix, level = 0.9) {
  const { rows, classes, values } = matrix;
  require(rows >= 1, "There are no rows.", "Draw at least one answer.");
  const [mean, low, high] = [0, 0, 0].map(() => new Float64Array(classes));
  for (let i = 0; i < classes; i++) {
    const column = Float64Array.from({ length: rows }, (_, row) => values[row * classes + i]);
    mean[i] = column.reduce((total, value) => total + value, 0) / rows;
    column.sort();
    low[i] = quantile(column, (1 - level) / 2);
    high[i] = quantile(column, (1 + level) / 2);
  }
  return { mean, low, high };
}

/**
 * By linear interpolation, as numpy has it.
 * @param {Float64Array} sorted
 * @param {number} share in [0, 1].
 */
export function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}
