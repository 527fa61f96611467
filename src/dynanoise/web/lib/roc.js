/**
 * The ROC of membership scores, and the AUC's interval; larger = more likely a member.
 *
 * dynanoise/metrics/roc.py has the same curve. The interval is over records of one model; it says
 * nothing about other models of the same training.
 */

import { TooFewRecordsError, require, shown } from "./errors.js";
import { Z95 } from "./flips.js";

/** False positives that must be possible at an FPR for a TPR there to mean anything. */
export const RESOLVING_NON_MEMBERS = 10;

/** @typedef {ArrayLike<number>} Scores */
/** @typedef {ArrayLike<number | boolean>} Members */
/** @typedef {{ value: number, low: number, high: number }} Interval */

/**
 * @typedef {object} Roc
 * @property {Float64Array} fpr from 0 to 1; equal scores are one step.
 * @property {Float64Array} tpr likewise.
 * @property {Float64Array} thresholds point i calls "member" every score >= thresholds[i].
 * @property {number} members
 * @property {number} nonMembers
 * @property {number} auc P(member's score > non-member's) + P(equal) / 2.
 */

/**
 * Checked scores and membership, in falling order of scores; equal ones stay in their order.
 * @param {Scores} scores
 * @param {Members} members
 */
function ranked(scores, members) {
  const values = Float64Array.from(scores);
  const nan = values.reduce((count, value) => count + (Number.isNaN(value) ? 1 : 0), 0);
  require(
    values.length === members.length && nan === 0,
    `There are ${values.length} scores with ${nan} NaN, and membership of ${members.length} records.`,
    "Pass two arrays [N] without NaN.",
  );
  const truth = Uint8Array.from(members, (value) => {
    require(
      value === true || value === false || value === 0 || value === 1,
      `Membership holds ${shown(value)}.`,
      "Use true or 1 for members, false or 0 for non-members, and leave out hidden pairs.",
    );
    return Number(value);
  });
  const inside = truth.reduce((count, value) => count + value, 0);
  require(
    inside > 0 && inside < truth.length,
    `There are ${inside} members and ${truth.length - inside} non-members.`,
    "A ROC needs both.",
  );
  const order = Uint32Array.from(values.keys());
  order.sort((a, b) => (values[a] === values[b] ? a - b : values[a] > values[b] ? -1 : 1));
  return { values, truth, order, inside };
}

/**
 * @param {Scores} scores
 * @param {Members} members
 * @returns {Roc}
 */
export function roc(scores, members) {
  const { values, truth, order, inside } = ranked(scores, members);
  const outside = order.length - inside;
  const [fpr, tpr, thresholds] = [[0], [0], [Infinity]];
  let [hits, alarms, auc] = [0, 0, 0];
  order.forEach((record, place) => {
    hits += truth[record];
    alarms += 1 - truth[record];
    if (place + 1 < order.length && values[order[place + 1]] === values[record]) return;
    const last = fpr.length - 1;
    auc += ((alarms / outside - fpr[last]) * (hits / inside + tpr[last])) / 2;
    fpr.push(alarms / outside);
    tpr.push(hits / inside);
    thresholds.push(values[record]);
  });
  return {
    fpr: Float64Array.from(fpr),
    tpr: Float64Array.from(tpr),
    thresholds: Float64Array.from(thresholds),
    members: inside,
    nonMembers: outside,
    auc,
  };
}

/**
 * The greatest TPR of a threshold whose FPR is at most `fpr`.
 * @param {Roc} curve
 * @param {number} fpr above 0, up to 1.
 * @returns {number}
 */
export function tprAt(curve, fpr) {
  require(fpr > 0 && fpr <= 1, `The FPR is ${shown(fpr)}.`, "Use a rate above 0 and up to 1.");
  if (curve.nonMembers * fpr < RESOLVING_NON_MEMBERS - 1e-9) {
    const needed = Math.ceil(RESOLVING_NON_MEMBERS / fpr - 1e-9);
    throw new TooFewRecordsError(
      `TPR at ${fpr} FPR is not resolved by ${curve.nonMembers} non-members.`,
      `Score at least ${needed} non-members, or ask for a larger FPR.`,
    );
  }
  return curve.tpr.reduce((best, tpr, i) => (curve.fpr[i] <= fpr + 1e-12 ? Math.max(best, tpr) : best), 0);
}

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
  const [inner, outer] = [
    shares(inside, outside),
    shares(outside.map((value) => -value), inside.map((value) => -value)),
  ];
  const half = Z95 * Math.sqrt(varianceOf(inner) / inner.length + varianceOf(outer) / outer.length);
  return {
    value: curve.auc,
    low: Math.max(0, curve.auc - half),
    high: Math.min(1, curve.auc + half),
  };
}

/** The share of the others that are smaller than each value, equal ones counted half. */
function shares(values, others) {
  const sorted = Float64Array.from(others).sort();
  const order = Float64Array.from(values).sort();
  const ahead = new Float64Array(order.length);
  let [smaller, notLarger] = [0, 0];
  order.forEach((value, i) => {
    while (smaller < sorted.length && sorted[smaller] < value) smaller += 1;
    while (notLarger < sorted.length && sorted[notLarger] <= value) notLarger += 1;
    ahead[i] = (smaller + notLarger) / (2 * sorted.length);
  });
  return ahead;
}

/** @param {Float64Array} values two or more. @returns {number} with n - 1 degrees of freedom. */
function varianceOf(values) {
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  return values.reduce((total, value) => total + (value - mean) ** 2, 0) / (values.length - 1);
}

