/**
 * The audit of one model without shadow models, as `dynanoise audit FILE` does it.
 *
 * The attacker knows the membership of half of the records, drawn by the seed; every threshold is
 * tuned on those, and the other half is scored. dynanoise/evaluation/single_model.py has the same.
 */

import { ranks, statistic } from "./attacks.js";
import { logProbsOf } from "./given.js";
import { quantile } from "./dynanoise.js";
import { measures, resampled } from "./intervals.js";
import { below, defaultRng, permutation } from "./numpy_random.js";
import { bestThreshold, classThresholds, rates, roc } from "./roc.js";
import { derive } from "./seeding.js";

/** @typedef {import("./given.js").Given} Given */
/** @typedef {import("./intervals.js").Interval} Interval */

/**
 * @typedef {object} Finding
 * @property {string} attack as in results.
 * @property {string} title
 * @property {Interval} auc of the scored records, with the 95% interval of resampled ones.
 * @property {Interval} asr balanced accuracy at the threshold below, likewise.
 * @property {Result<string, Interval>} tprAt by FPR, such as "0.01"; without those that too few
 *   non-members resolve.
 * @property {number} threshold tuned on known records: member if score >= threshold.
 * @property {number} expected balanced accuracy at the threshold, of known records.
 * @property {number} tpr at the threshold.
 * @property {number} fpr at the threshold.
 * @property {Float64Array} scores of the scored records, larger = more likely a member.
 * @property {Uint8Array} members 1 or 0 of the scored records.
 * @property {Uint32Array} rows which records these are.
 * @property {import("./roc.js").Roc} roc of the scored records.
 */

/** What is learned from known records, and the scores of others with it. */
const ATTACKS = {
  population: ["Attack-P", "loss", (signal, known, asked) => {
    const outside = known.filter((i) => signal.members[i] === 0);
    return ranks(pick(signal.values, asked), pick(signal.values, outside));
  }],
  threshold: ["Threshold", "scaled_logit", (signal, known, asked) => {
    const parts = [signal.values, signal.members, signal.labels].map((part) => pick(part, known));
    const thresholds = classThresholds(...parts, signal.classes);
    return Float64Array.from(asked, (i) => signal.values[i] - thresholds[signal.labels[i]]);
  }],
  gap: ["Gap", "correctness", (signal, known, asked) => pick(signal.values, asked)],
  confidence: ["Confidence", "confidence", (signal, known, asked) => pick(signal.values, asked)],
  loss: ["Loss", "loss", (signal, known, asked) => pick(signal.values, asked)],
};

const FPRS = [0.001, 0.01];

/** @param {ArrayLike<number>} values @param {ArrayLike<number>} rows */
const pick = (values, rows) => Float64Array.from(rows, (i) => values[i]);

/**
 * Which records the attacker knows, in two parts, and which are scored; those of unknown membership
 * are neither.
 * @param {ArrayLike<number>} member [N], 1, 0 or -1.
 * @param {number} seed
 * @returns {{ known: [number[], number[]], scored: number[] }}
 */
export function halves(member, seed) {
  const generator = defaultRng(derive(seed, "known half"));
  const parts = [[], [], []];
  for (const kind of [1, 0]) {
    const rows = [];
    for (let i = 0; i < member.length; i++) if (member[i] === kind) rows.push(i);
    const order = permutation(generator, rows);
    const half = Math.floor(rows.length / 2);
    const quarter = Math.floor(half / 2);
    const found = [order.slice(0, quarter), order.slice(quarter, half), order.slice(half)];
    parts.forEach((part, i) => part.push(...found[i]));
  }
  const [first, second, scored] = parts.map((part) => part.sort((a, b) => a - b));
  return { known: [first, second], scored };
}

/**
 * Every attack that the page can run, on one model.
 * @param {Given} given
 * @param {object} options
 * @param {number} options.seed as in `dynanoise audit --seed`.
 * @param {number} options.model which one; `dynanoise audit` attacks several with each other instead.
 * @param {number} options.replicates of the bootstrap.
 * @returns {Finding[]}
 */
export function auditSingle(given, { seed = 0, model = 0, replicates = 200 } = {}) {
  const { records, classes, labels } = given;
  const members = given.member.subarray(model * records, (model + 1) * records);
  const { known, scored } = halves(members, seed);
  const logProbs = logProbsOf(given, model);
  const generator = defaultRng(derive(seed, "bootstrap"));
  const drawn = Array.from({ length: replicates }, () =>
    Uint16Array.from(resampled(scored.length, (n) => below(generator, n))),
  );
  return Object.entries(ATTACKS).map(([attack, [title, name, score]]) => {
    const signal = { values: statistic(name, logProbs, labels), members, labels, classes };
    const tuned = tune(signal, known, score);
    const scores = score(signal, [...known[0], ...known[1]], scored);
    const truth = Uint8Array.from(scored, (i) => members[i]);
    const measured = measures(scores, truth, tuned.threshold, FPRS);
    const replicated = drawn.map(measured);
    const point = measured(new Uint16Array(scored.length).fill(1));
    const intervals = Object.keys(point).map((key) => [key, interval(point[key], replicated.map((one) => one[key]))]);
    const { auc, asr, ...tprAt } = Object.fromEntries(intervals);
    return {
      attack, title, auc, asr, tprAt, ...tuned, scores, members: truth,
      ...rates(scores, truth, tuned.threshold), rows: Uint32Array.from(scored), roc: roc(scores, truth),
    };
  });
}

/**
 * The attack that an attacker chooses: on known records, before the others are scored. The best of
 * the scored ones would be the luckiest, too.
 * @param {Finding[]} found
 * @returns {Finding}
 */
export function strongest(found) {
  return found.reduce((best, one) => (one.expected > best.expected ? one : best));
}

/** The threshold of greatest balanced accuracy on each known part, learned from the other. */
function tune(signal, [first, second], score) {
  const tried = [...score(signal, first, second), ...score(signal, second, first)];
  const truth = [...second, ...first].map((i) => signal.members[i]);
  const { threshold, accuracy } = bestThreshold(tried, truth);
  return { threshold, expected: accuracy };
}

/** @returns {Interval} percentiles of what was drawn; replicates that say nothing do not count. */
function interval(value, drawn) {
  const sorted = Float64Array.from(drawn.filter((one) => !Number.isNaN(one))).sort();
  if (sorted.length === 0) return { value, low: NaN, high: NaN };
  return { value, low: quantile(sorted, 0.025), high: quantile(sorted, 0.975) };
}
