/**
 * Repeated queries: outputs undone and averaged, until the clean logits show.
 *
 * Under fresh noise the error falls as 1 / sqrt(Q). Under keyed noise the same query has the same
 * output; near-duplicates in other cells bring other noise, and less the wider the cells are.
 */

import { undo } from "./dynanoise.js";
import { require } from "./errors.js";
import { centred, logProbabilities } from "./numerics.js";
import { normals, uniform } from "./random.js";

/** @typedef {ArrayLike<number>} Row */
/** @typedef {import("./random.js").Generator} Generator */

/** @typedef {{ count: number, mean: Float64Array }} Estimate of the centred logits. */

/** @param {number} classes K. @returns {Estimate} before the first query. */
export function beginning(classes) {
  return { count: 0, mean: new Float64Array(classes) };
}

/**
 * The estimate after one more answer; the one before stays as it is.
 * @param {Estimate} estimate
 * @param {Row} answer probabilities.
 * @param {number} temperature of the defense, which the attacker knows.
 * @param {Row | null} moved what was added to the logits of this query, taken away again.
 * @returns {Estimate}
 */
export function add(estimate, answer, temperature, moved = null) {
  const logits = undo(logProbabilities(answer), temperature);
  const shift = moved === null ? new Float64Array(logits.length) : centred(moved);
  const count = estimate.count + 1;
  const mean = estimate.mean.map((value, i) => value + (logits[i] - shift[i] - value) / count);
  return { count, mean };
}

/**
 * Root-mean-square error of the estimate against the clean logits, both centred, in logits.
 * @param {Estimate} estimate of one answer or more.
 * @param {Row} logits
 * @param {number | null} without a class that does not count, such as the leading one.
 * @returns {number}
 */
export function error(estimate, logits, without = null) {
  require(estimate.count > 0, "There is no output yet.", "Send a query.");
  const kept = (row) => centred(Float64Array.from(row).filter((_, i) => i !== without));
  const [mean, clean] = [kept(estimate.mean), kept(logits)];
  return Math.sqrt(mean.reduce((total, value, i) => total + (value - clean[i]) ** 2, 0) / mean.length);
}

/**
 * How far a near-duplicate's logits are from the record's: independent normals.
 * @param {number} classes
 * @param {number} size standard deviation in logits.
 * @param {Generator} generator
 * @param {number | null} keep a class that is left alone.
 * @returns {Float64Array}
 */
export function jitter(classes, size, generator, keep = null) {
  return normals(generator, classes).map((value, i) => (i === keep ? 0 : size * value));
}

/**
 * Shifts in pairs d, -d, whose sizes are spread evenly over (0, reach) for every class: where the
 * cells' boundaries are averages away.
 * @param {number} classes
 * @param {number} reach in logits, at best several widths of a cell.
 * @param {number} pairs
 * @param {Generator} generator
 * @param {number | null} keep a class that is left alone.
 * @returns {Float64Array[]} 2 * pairs of them, d and -d next to each other.
 */
export function antithetic(classes, reach, pairs, generator, keep = null) {
  const steps = Array.from({ length: pairs }, (_, i) => ((i + 0.5) / pairs) * reach);
  const columns = Array.from({ length: classes }, (_, i) =>
    i === keep
      ? new Float64Array(pairs)
      : shuffled(steps, generator).map((step) => (uniform(generator) < 0.5 ? -step : step)),
  );
  return steps.flatMap((_, pair) => {
    const shift = Float64Array.from(columns, (column) => column[pair]);
    return [shift, shift.map((value) => (value === 0 ? 0 : -value))];
  });
}

/** Fisher & Yates. @param {number[]} values @param {Generator} generator */
function shuffled(values, generator) {
  const order = [...values];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(uniform(generator) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
