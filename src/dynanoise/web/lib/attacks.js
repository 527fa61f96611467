/**
 * Signals of membership: one number for each answer, larger = more likely a member.
 *
 * As dynanoise/attacks/statistics.py has them: of a row of log-probabilities and its true label;
 * loss and entropies are negated.
 */

import { InputError, require, shown } from "./errors.js";
import { argmax, entropy, logSumExp, maximum, rowOf } from "./numerics.js";

/** @typedef {import("./numerics.js").Row} Row */
/** @typedef {import("./numerics.js").Matrix} Matrix */

/** @param {Row} row @param {number} label */
const others = (row, label) => Float64Array.from(row).filter((_, i) => i !== label);

/**
 * ln(1 - p_i) of each entry. Only the largest can be so near 1 that 1 - p loses digits; there the
 * other entries are summed instead.
 * @param {Row} logProbs
 */
function logComplement(logProbs) {
  const top = argmax(logProbs);
  return Float64Array.from(logProbs, (value, i) =>
    i === top ? logSumExp(others(logProbs, top)) : Math.log1p(-Math.exp(Math.min(value, 0))),
  );
}

/**
 * -(1 - p_y) ln p_y - sum_{i != y} p_i ln(1 - p_i) in nats (Song & Mittal 2021, equation 6).
 * @param {Row} logProbs
 * @param {number} label
 * @returns {number} at least 0.
 */
export function modifiedEntropy(logProbs, label) {
  const complement = logComplement(logProbs);
  let total = -Math.exp(complement[label]) * logProbs[label];
  for (let i = 0; i < logProbs.length; i++) {
    if (i !== label) total -= Math.exp(logProbs[i]) * complement[i];
  }
  return total;
}

/** Functions of a row of log-probabilities and its label. */
export const STATISTICS = {
  /** max p, in (0, 1]. @param {Row} logProbs */
  confidence: (logProbs) => Math.exp(maximum(logProbs)),
  /** ln p_y, the cross-entropy negated. @param {Row} logProbs @param {number} label */
  loss: (logProbs, label) => logProbs[label],
  /** -H(p) in nats. @param {Row} logProbs */
  entropy: (logProbs) => -entropy(logProbs),
  /** Minus the modified entropy in nats. @param {Row} logProbs @param {number} label */
  modified_entropy: (logProbs, label) => -modifiedEntropy(logProbs, label),
  /** 1 where the first of the largest entries is the label's: the gap attack. */
  correctness: (logProbs, label) => (argmax(logProbs) === label ? 1 : 0),
  /** ln p_y - ln sum_{i != y} p_i (Carlini et al. 2022). */
  scaled_logit: (logProbs, label) => logProbs[label] - logSumExp(others(logProbs, label)),
  /** ln p_y - max_{i != y} ln p_i (Carlini et al. 2022). */
  hinge: (logProbs, label) => logProbs[label] - maximum(others(logProbs, label)),
};

/**
 * A statistic of every answer.
 * @param {string} name of STATISTICS.
 * @param {Matrix} logProbs [N, K].
 * @param {ArrayLike<number>} labels [N], 0 .. K - 1.
 * @returns {Float64Array} [N].
 */
export function statistic(name, logProbs, labels) {
  if (!Object.hasOwn(STATISTICS, name)) {
    throw new InputError(
      `There is no statistic ${shown(name)}.`,
      `Known: ${Object.keys(STATISTICS).join(", ")}.`,
    );
  }
  require(
    labels.length === logProbs.rows,
    `There are ${labels.length} labels for ${logProbs.rows} answers.`,
    "Give one label an answer.",
  );
  const formula = STATISTICS[name];
  return Float64Array.from(labels, (label, i) => formula(rowOf(logProbs, i), label));
}

/**
 * Attack-P: the share of known values that are smaller, equal ones counted half, in [0, 1].
 * @param {ArrayLike<number>} signal
 * @param {ArrayLike<number>} known of known non-members, one or more.
 * @returns {Float64Array}
 */
export function ranks(signal, known) {
  const sorted = Float64Array.from(known).sort();
  /** How many are smaller, or with `equal` not larger. */
  const below = (value, equal) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value || (equal && sorted[middle] === value)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return Float64Array.from(
    signal,
    (value) => (below(value, false) + below(value, true)) / (2 * sorted.length),
  );
}
