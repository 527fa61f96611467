/** The ROC of membership scores, as dynanoise/metrics/roc.py has it; larger = more likely a member. */

import { InputError, TooFewRecordsError, require, shown } from "./errors.js";

/** False positives that must be possible at an FPR for a TPR there to mean anything. */
export const RESOLVING_NON_MEMBERS = 10;

/** @typedef {ArrayLike<number>} Scores */
/** @typedef {ArrayLike<number | boolean>} Members */

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
 * The threshold of greatest accuracy for "member if score >= threshold", among the scores.
 *
 * Of several equally accurate ones the largest: ties are broken towards "not a member".
 *
 * @param {Scores} scores
 * @param {Members} members of both kinds.
 * @param {boolean} balanced whether balanced accuracy is meant, (TPR + TNR) / 2.
 * @returns {{ threshold: number, accuracy: number }} the accuracy of the same kind.
 */
export function bestThreshold(scores, members, balanced = true) {
  const { values, truth, order, inside } = ranked(scores, members);
  const outside = order.length - inside;
  // In integers, so that ties stay ties.
  const [hit, alarm] = balanced ? [outside, inside] : [1, 1];
  let [gained, most, threshold] = [0, -Infinity, NaN];
  order.forEach((record, place) => {
    gained += truth[record] ? hit : -alarm;
    if (place + 1 < order.length && values[order[place + 1]] === values[record]) return;
    if (gained > most) [most, threshold] = [gained, values[record]];
  });
  const accuracy = balanced
    ? (most / (inside * outside) + 1) / 2
    : (most + outside) / (inside + outside);
  return { threshold, accuracy };
}

/**
 * The `bestThreshold` of each class; that over all classes where a class lacks one kind.
 * @param {Scores} scores
 * @param {Members} members
 * @param {ArrayLike<number>} labels
 * @param {number} classes
 * @returns {Float64Array} [K].
 */
export function classThresholds(scores, members, labels, classes) {
  const rows = Array.from({ length: classes }, () => []);
  for (let i = 0; i < labels.length; i++) rows[labels[i]].push(i);
  const overall = bestThreshold(scores, members).threshold;
  return Float64Array.from(rows, (own) => {
    const inside = own.filter((i) => members[i]).length;
    if (inside === 0 || inside === own.length) return overall;
    return bestThreshold(own.map((i) => scores[i]), own.map((i) => members[i])).threshold;
  });
}

/**
 * TPR and FPR of "member if score >= threshold".
 * @param {Scores} scores
 * @param {Members} members of both kinds.
 * @param {number} threshold
 * @returns {{ tpr: number, fpr: number }}
 */
export function rates(scores, members, threshold) {
  const [said, all] = [[0, 0], [0, 0]];
  for (let i = 0; i < scores.length; i++) {
    const kind = members[i] ? 1 : 0;
    all[kind] += 1;
    said[kind] += scores[i] >= threshold ? 1 : 0;
  }
  if (all[0] === 0 || all[1] === 0) {
    throw new InputError(
      `There are ${all[1]} members and ${all[0]} non-members.`,
      "Rates need both.",
    );
  }
  return { tpr: said[1] / all[1], fpr: said[0] / all[0] };
}

/**
 * (TPR + TNR) / 2 of "member if score >= threshold".
 * @param {Scores} scores
 * @param {Members} members
 * @param {number} threshold
 * @returns {number} 0.5 = chance.
 */
export function balancedAccuracy(scores, members, threshold) {
  const { tpr, fpr } = rates(scores, members, threshold);
  return (tpr + 1 - fpr) / 2;
}
