/** How probable it is that noise moves the label of an answer. */

import { answer, parametersOf, sigma } from "./dynanoise.js";
import { require } from "./errors.js";
import { argmax, checkedLogits } from "./numerics.js";
import { normals } from "./random.js";

/** @typedef {import("./numerics.js").Row} Row */

/**
 * The probability that an answer under fresh noise prefers another class than the model does.
 *
 * With one sample the temperature does not matter, and the noisy maximum of independent normals is
 * an integral over the first's: for two classes erfc(gap / (2 sigma)) / 2. A mean over several
 * samples has no such form and is drawn, with Wilson's 95% interval.
 *
 * @param {Row} logits finite, K >= 2.
 * @param {Partial<import("./dynanoise.js").Parameters>} parameters
 * @param {{ generator?: import("./random.js").Generator, draws?: number }} how for several samples.
 * @returns {{ value: number, low: number, high: number, exact: boolean }}
 */
export function flipProbability(logits, parameters, { generator, draws = 2000 } = {}) {
  const set = parametersOf(parameters);
  const row = checkedLogits(logits);
  const certain = (value) => ({ value, low: value, high: value, exact: true });
  if (set.keepLabel || set.baseVariance === 0) return certain(0);
  const own = argmax(row);
  const spread = sigma(row, set);
  const gaps = Array.from(row, (value) => (row[own] - value) / spread).filter((_, i) => i !== own);
  if (set.samples === 1) {
    return certain(gaps.length === 1 ? erfc(gaps[0] / 2) / 2 : overtaken(gaps));
  }
  require(
    generator !== undefined && draws >= 1,
    "Label flips of a mean over several samples have no closed form.",
    "Pass a generator and a number of draws.",
  );
  let flips = 0;
  for (let i = 0; i < draws; i++) {
    const noise = normals(generator, set.samples * row.length);
    flips += argmax(answer(row, set, noise)) === own ? 0 : 1;
  }
  return { ...wilson(flips, draws), exact: false };
}

/** Ends and step of the sum: the integrand is smooth, so the sum converges faster than any power of them. */
const [FROM, TO, STEP] = [-38, 10, 1 / 16];

/**
 * P(some n_j - n_0 > gap_j) of independent standard normals.
 * @param {number[]} gaps in standard deviations, at least 0.
 */
function overtaken(gaps) {
  const counts = new Map();
  for (const gap of gaps) counts.set(gap, (counts.get(gap) ?? 0) + 1);
  let total = 0;
  for (let t = FROM; t <= TO; t += STEP) {
    let stays = 0;
    for (const [gap, count] of counts) stays += count * Math.log1p(-normalCdf(-(t + gap)));
    total -= Math.exp((-t * t) / 2) * Math.expm1(stays);
  }
  return Math.min(Math.max((total * STEP) / Math.sqrt(2 * Math.PI), 0), 1);
}

/** @param {number} x @returns {number} P(n <= x) of a standard normal. */
export function normalCdf(x) {
  return erfc(-x / Math.SQRT2) / 2;
}

const H = 0.5;
const WEIGHTS = Array.from({ length: 14 }, (_, k) => Math.exp(-((k * H) ** 2)));

/**
 * The complementary error function, to about 1e-14 of its value.
 *
 * Below 1 by the series of erf; above by the trapezoidal rule for (2x / pi) times the integral of
 * exp(-x^2 - t^2) / (x^2 + t^2) over t > 0, with the term of its pole (Chiarella & Reichel 1968).
 *
 * @param {number} x
 * @returns {number} in [0, 2].
 */
export function erfc(x) {
  if (x < 0) return 2 - erfc(-x);
  if (x > 28) return 0; // below every float, and no sum for an infinite x
  if (x < 1) {
    let term = x;
    let total = x;
    for (let n = 1; term > 1e-18 * total; n++) total += term *= (2 * x * x) / (2 * n + 1);
    return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
  }
  const square = x * x;
  let total = 1 / (2 * square);
  for (let k = 1; k < WEIGHTS.length; k++) total += WEIGHTS[k] / (square + (k * H) ** 2);
  const pole = x < 6 ? 2 / Math.expm1((2 * Math.PI * x) / H) : 0;
  return ((2 * H * x) / Math.PI) * Math.exp(-square) * total - pole;
}

/** The half-width of a normal's 95% interval, in standard deviations. */
export const Z95 = 1.959963984540054;

/**
 * A share of independent trials with Wilson's 95% interval.
 * @param {number} hits
 * @param {number} trials above 0.
 */
export function wilson(hits, trials) {
  const share = hits / trials;
  const squared = (Z95 * Z95) / trials;
  const centre = (share + squared / 2) / (1 + squared);
  const half = (Math.sqrt(((share * (1 - share)) / trials + squared / (4 * trials))) * Z95) / (1 + squared);
  return { value: share, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}
