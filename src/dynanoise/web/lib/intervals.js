/** 95% intervals of an AUC on one model: they do not speak of other models of the same training. */

import { quantile } from "./dynanoise.js";
import { TooFewRecordsError } from "./errors.js";
import { Z95 } from "./flips.js";
import { RESOLVING_NON_MEMBERS, roc } from "./roc.js";

/** @typedef {{ value: number, low: number, high: number }} Interval */

/**
 * The AUC with its interval by DeLong, DeLong & Clarke-Pearson (Biometrics 44, 1988), by midranks.
 * @param {ArrayLike<number>} scores
 * @param {ArrayLike<number | boolean>} members at least two of each kind.
 * @returns {Interval} within [0, 1].
 */
export function delong(scores, members) {
  const curve = roc(scores, members);
  const kinds = [[], []];
  for (let i = 0; i < scores.length; i++) kinds[members[i] ? 1 : 0].push(scores[i]);
  const [outside, inside] = kinds;
  if (Math.min(outside.length, inside.length) < 2) {
    throw new TooFewRecordsError(
      `There are ${inside.length} members and ${outside.length} non-members.`,
      "An interval needs two of each kind.",
    );
  }
  // Each record's share of the others it is ahead of; a member of non-members, and the reverse.
  const [own, other] = [
    shares(inside, outside),
    shares(outside.map((value) => -value), inside.map((value) => -value)),
  ];
  const half = Z95 * Math.sqrt(varianceOf(own) / own.length + varianceOf(other) / other.length);
  return {
    value: curve.auc,
    low: Math.max(0, curve.auc - half),
    high: Math.min(1, curve.auc + half),
  };
}

/** Of each value the share of the others that are smaller, equal ones counted half. */
function shares(values, others) {
  const sorted = Float64Array.from(others).sort();
  const order = Float64Array.from(values).sort();
  const found = new Float64Array(order.length);
  let [smaller, notLarger] = [0, 0];
  order.forEach((value, i) => {
    while (smaller < sorted.length && sorted[smaller] < value) smaller += 1;
    while (notLarger < sorted.length && sorted[notLarger] <= value) notLarger += 1;
    found[i] = (smaller + notLarger) / (2 * sorted.length);
  });
  return found;
}

/** @param {Float64Array} values two or more. @returns {number} with n - 1 degrees of freedom. */
function varianceOf(values) {
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  return values.reduce((total, value) => total + (value - mean) ** 2, 0) / (values.length - 1);
}

/**
 * The AUC with the percentiles of what it is in resampled records.
 * @param {ArrayLike<number>} scores
 * @param {ArrayLike<number | boolean>} members
 * @param {(n: number) => number} pick a random integer 0 .. n - 1, such as `n => below(generator, n)`.
 * @param {number} replicates
 * @returns {Interval}
 */
export function bootstrapAuc(scores, members, pick, replicates = 200) {
  const value = roc(scores, members).auc;
  const measured = measures(scores, members, Infinity, []);
  const found = Float64Array.from({ length: replicates }, () => measured(resampled(scores.length, pick)).auc)
    .filter((auc) => !Number.isNaN(auc))
    .sort();
  return { value, low: quantile(found, 0.025), high: quantile(found, 0.975) };
}

/**
 * How often each of `count` records is drawn, with replacement.
 * @param {number} count
 * @param {(n: number) => number} pick
 * @returns {Float64Array}
 */
export function resampled(count, pick) {
  const weights = new Float64Array(count);
  for (let i = 0; i < count; i++) weights[pick(count)] += 1;
  return weights;
}

/**
 * An attack's metrics as functions of how much each record counts; sorting is done once.
 *
 * @param {ArrayLike<number>} scores
 * @param {ArrayLike<number | boolean>} members
 * @param {number} threshold member if score >= threshold.
 * @param {number[]} fprs those that fewer than 10 non-members resolve are left out.
 * @returns {(weights: ArrayLike<number>) => Result<string, number>} `auc`, `asr` and a TPR for each
 *   FPR by its number; NaN where a kind has no weight.
 */
export function measures(scores, members, threshold, fprs) {
  const order = Uint32Array.from({ length: scores.length }, (_, i) => i);
  order.sort((a, b) => scores[b] - scores[a] || a - b);
  const inside = Uint8Array.from(order, (i) => (members[i] ? 1 : 0));
  const ranked = Float64Array.from(order, (i) => scores[i]);
  const outside = inside.reduce((count, one) => count + 1 - one, 0);
  const resolved = fprs.filter((fpr) => outside * fpr >= RESOLVING_NON_MEMBERS - 1e-9);
  return (weights) => {
    let [alarmsInAll, hitsInAll] = [0, 0];
    for (let place = 0; place < order.length; place++) {
      if (inside[place]) hitsInAll += weights[order[place]];
      else alarmsInAll += weights[order[place]];
    }
    const low = resolved.map(() => 0);
    let [hits, alarms, area, right] = [0, 0, 0, 1 / 2];
    for (let place = 0; place < order.length; ) {
      const score = ranked[place];
      const [hitsBefore, alarmsBefore] = [hits, alarms];
      for (; place < order.length && ranked[place] === score; place++) {
        if (inside[place]) hits += weights[order[place]];
        else alarms += weights[order[place]];
      }
      area += ((alarms - alarmsBefore) * (hits + hitsBefore)) / 2;
      if (score >= threshold) right = (hits / hitsInAll + 1 - alarms / alarmsInAll) / 2;
      for (let i = 0; i < low.length; i++) {
        if (alarms <= (resolved[i] + 1e-12) * alarmsInAll) low[i] = hits;
      }
    }
    const told = hitsInAll > 0 && alarmsInAll > 0;
    const found = { auc: told ? area / (hitsInAll * alarmsInAll) : NaN, asr: told ? right : NaN };
    resolved.forEach((fpr, i) => (found[fpr] = told ? low[i] / hitsInAll : NaN));
    return found;
  };
}
