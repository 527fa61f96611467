/**
 * Signals of membership: one number for each output, larger = more likely a member.
 *
 * dynanoise/attacks/statistics.py has the same formulas on a row of log-probabilities and its label.
 */

import { logSumExp } from "./numerics.js";

/** @typedef {import("./numerics.js").Row} Row */

/**
 * The cross-entropy negated: ln p_y.
 * @param {Row} logProbs
 * @param {number} label 0 .. K - 1.
 * @returns {number}
 */
export function loss(logProbs, label) {
  return logProbs[label];
}

/**
 * The log-odds of the label: ln p_y - ln sum_{i != y} p_i (Carlini et al. 2022).
 * @param {Row} logProbs
 * @param {number} label 0 .. K - 1.
 * @returns {number}
 */
export function scaledLogit(logProbs, label) {
  const others = Float64Array.from(logProbs).filter((_, i) => i !== label);
  return logProbs[label] - logSumExp(others);
}
