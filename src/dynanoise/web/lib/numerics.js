/**
 * Formulas on rows of logits and of log-probabilities, as dynanoise/core/numerics.py has them.
 *
 * A row is an array-like of K numbers; nothing here writes to its input.
 */

import { InputError, shown } from "./errors.js";

/** @typedef {ArrayLike<number>} Row */
/** @typedef {{ rows: number, classes: number, values: Float64Array }} Matrix row by row. */

/** The smallest normal float64: what a probability of 0 counts as in a logarithm. */
export const TINY = 2 ** -1022;

const LOWEST = -Number.MAX_VALUE;

/**
 * @param {Row} values
 * @param {string} name what to call them in messages.
 * @returns {Float64Array} a copy.
 */
export function checkedLogits(values, name = "logits") {
  const row = Float64Array.from(values);
  if (row.length === 0) {
    throw new InputError(`${name} are empty.`, "Pass one logit for each of K >= 2 classes.");
  }
  if (row.length === 1) {
    throw new InputError(
      `${name} are a single number, and a single class has no entropy scale (ln 1 = 0).`,
      "For a sigmoid output z pass the two logits [0, z].",
    );
  }
  const odd = row.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0) {
    throw new InputError(`${name}[${odd}] is ${shown(row[odd])}.`, "Logits must be finite numbers.");
  }
  return row;
}

/** @param {Row} row @returns {number} the lowest index of the maximum. */
export function argmax(row) {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
  return best;
}

/** @param {Row} row @returns {number} */
export function maximum(row) {
  return row[argmax(row)];
}

/**
 * Logits minus their maximum: at most 0, finite for any finite input.
 * @param {Row} logits
 * @returns {Float64Array}
 */
export function shift(logits) {
  const top = maximum(logits);
  return Float64Array.from(logits, (value) => Math.max(value - top, LOWEST));
}

/** @param {Row} values @returns {number} */
export function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

/**
 * softmax(z / T).
 * @param {Row} logits finite.
 * @param {number} temperature above 0.
 * @returns {Float64Array}
 */
export function softmax(logits, temperature = 1) {
  const weights = shift(logits).map((value) => Math.exp(value / temperature));
  const total = sum(weights);
  return weights.map((value) => value / total);
}

/**
 * ln softmax(z / T), finite.
 * @param {Row} logits finite.
 * @param {number} temperature above 0.
 * @returns {Float64Array}
 */
export function logSoftmax(logits, temperature = 1) {
  const shifted = shift(logits).map((value) => Math.max(value / temperature, LOWEST));
  const total = Math.log(sum(shifted.map(Math.exp)));
  return shifted.map((value) => value - total);
}

/**
 * Shannon entropy -sum p ln p in nats, within [0, ln K].
 * @param {Row} logProbs finite.
 * @returns {number}
 */
export function entropy(logProbs) {
  let nats = 0;
  for (let i = 0; i < logProbs.length; i++) nats -= Math.exp(logProbs[i]) * logProbs[i];
  return Math.min(Math.max(nats, 0), Math.log(logProbs.length));
}

/** @param {Row} row @returns {Float64Array} the row minus its mean. */
export function centred(row) {
  const mean = sum(row) / row.length;
  return Float64Array.from(row, (value) => value - mean);
}

/** @param {Row} probs @returns {Float64Array} ln max(p, tiny). */
export function logProbabilities(probs) {
  return Float64Array.from(probs, (value) => Math.log(Math.max(value, TINY)));
}

/**
 * The row with the winner's entry and the first of the largest ones exchanged.
 * @param {Row} probs
 * @param {number} winner
 * @returns {Float64Array}
 */
export function exchangeTop(probs, winner) {
  const row = Float64Array.from(probs);
  const top = argmax(row);
  [row[winner], row[top]] = [row[top], row[winner]];
  return row;
}

/**
 * The row with `winner` as its argmax even where rounding made a tie: one unit in the last place.
 * @param {Row} probs in [0, 1].
 * @param {number} winner
 * @returns {Float64Array}
 */
export function favour(probs, winner) {
  const row = Float64Array.from(probs);
  if (argmax(row) !== winner) row[winner] = after(maximum(row));
  return row;
}

/** @param {number} value at least 0 and finite. @returns {number} the next larger float64. */
function after(value) {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  bits.setBigUint64(0, bits.getBigUint64(0) + 1n);
  return bits.getFloat64(0);
}

/** @param {Matrix} matrix @param {number} i @returns {Float64Array} a view of one row. */
export function rowOf(matrix, i) {
  return matrix.values.subarray(i * matrix.classes, (i + 1) * matrix.classes);
}

/** @param {Row[]} rows of one length. @returns {Matrix} */
export function matrixOf(rows) {
  const classes = rows.length ? rows[0].length : 0;
  const values = new Float64Array(rows.length * classes);
  rows.forEach((row, i) => {
    if (row.length !== classes) {
      throw new InputError(
        `Row ${i} has ${row.length} numbers, row 0 has ${classes}.`,
        "Give every row one number for each class.",
      );
    }
    values.set(row, i * classes);
  });
  return { rows: rows.length, classes, values };
}
