/**
 * Signals of membership, and the loss attack on one model; larger = more likely a member.
 *
 * dynanoise/attacks/statistics.py has the same formulas on a row of log-probabilities and its label.
 */

import { InputError } from "./errors.js";
import { rowOf } from "./numerics.js";
import { logProbsOf } from "./outputs.js";
import { delong, roc, tprAt } from "./roc.js";

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

/** @typedef {import("./roc.js").Interval} Interval */

const FPRS = [0.01, 0.001];

/** AUC below which membership looks inverted: 1 for the records outside of the training data. */
const FAR_BELOW_CHANCE = 0.4;

/**
 * @typedef {object} Audit
 * @property {Interval} auc with its 95% interval over records.
 * @property {Record<string, number | null>} tprAt by FPR, such as "0.01"; null where too few
 *   non-members resolve it.
 * @property {import("./roc.js").Roc} roc
 * @property {boolean} inverted true if the whole interval of the AUC is far below chance.
 */

/**
 * The loss attack: a record is called a member if its cross-entropy is small.
 *
 * It needs no shadow models and nothing to be tuned, so it is measured on all records of known
 * membership.
 * @param {import("./outputs.js").Outputs} outputs
 * @returns {Audit}
 */
export function auditLoss(outputs) {
  const logProbs = logProbsOf(outputs);
  const rows = [...outputs.member.keys()].filter((i) => outputs.member[i] >= 0);
  const scores = rows.map((i) => loss(rowOf(logProbs, i), outputs.labels[i]));
  const members = rows.map((i) => outputs.member[i]);
  const curve = roc(scores, members);
  const rates = FPRS.map((fpr) => [String(fpr), resolved(() => tprAt(curve, fpr))]);
  const auc = delong(scores, members);
  return { auc, tprAt: Object.fromEntries(rates), roc: curve, inverted: auc.high < FAR_BELOW_CHANCE };
}

/**
 * The finding in words; `inverted_membership` of dynanoise/audits/inputs.py begins alike.
 * @param {Audit} audit
 * @returns {string} such as "No leak was measured: AUC 0.512 [0.480, 0.544]".
 */
export function headline({ auc, inverted }) {
  const leak = auc.low > 0.5 ? "This model reveals membership" : "No leak was measured";
  const [value, low, high] = [auc.value, auc.low, auc.high].map((number) => number.toFixed(3));
  return `${inverted ? "Members have higher losses than non-members" : leak}: AUC ${value} [${low}, ${high}]`;
}

/** The value, or null where too few records resolve it. */
function resolved(compute) {
  try {
    return compute();
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}
