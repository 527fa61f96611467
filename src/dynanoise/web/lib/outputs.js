/** A visitor's outputs, checked, so that no exchanged column becomes a finding. */

import { numberOf, readCsv } from "./csv.js";
import { InputError, TooFewRecordsError, asFloat, require, shown } from "./errors.js";
import { TINY, argmax, centred, favour, logProbabilities, logSoftmax, softmax } from "./numerics.js";

/** Members, and non-members, that an audit needs. */
const LEAST = 40;

/** Allowed distance of a row of probabilities from 1, for rounded ones. */
const SUMS_TO_ONE = 0.01;

/**
 * @typedef {object} Outputs outputs of one model on N records.
 * @property {string} name
 * @property {number} records N.
 * @property {number} classes K.
 * @property {Float64Array} probs [N, K].
 * @property {Int32Array} labels [N], 0 .. K-1.
 * @property {Int8Array} member [N]; 1 = trained on, 0 = not, -1 = unknown.
 */

/**
 * Reads and checks a visitor's file.
 * @param {string} file its name, whose ending tells its format.
 * @param {ArrayBuffer} buffer
 * @returns {Outputs}
 */
export function readOutputs(file, buffer) {
  const ending = /\.[^.]*$/.exec(file)?.[0] ?? "";
  if (ending.toLowerCase() !== ".csv") {
    throw new InputError(
      `${file} ends in ${ending || "nothing"}.`,
      "Use .csv here; `dynanoise audit FILE` reads .npz and .parquet, too.",
    );
  }
  return checkOutputs(file.slice(0, -ending.length), readCsv(file, buffer));
}

/**
 * Checks columns that belong together, as `check_inputs` of dynanoise/audits/inputs.py does.
 * @param {string} name of the data.
 * @param {import("./csv.js").Table} table
 * @returns {Outputs}
 */
export function checkOutputs(name, { records, classes, probs, label, member }) {
  checkProbabilities(probs, classes);
  if (label === null || member === null) {
    throw new InputError(
      `${name} holds no ${label === null ? "labels" : "member"}.`,
      "Give the true classes as labels, and the membership of every record as member.",
    );
  }
  const labelled = checkLabels(label);
  if (!Array.isArray(labelled) && !Array.isArray(member)) checkNotExchanged(labelled, member);
  const use = checkMember(member);
  const labels = numbersOf(labelled, classes);
  const predicted = Array.from({ length: records }, (_, i) =>
    argmax(probs.subarray(i * classes, (i + 1) * classes)),
  );
  checkPredictions(predicted, labels, use);
  checkEnough(use);
  return { name, records, classes, probs, labels, member: use };
}

/**
 * Log-probabilities as an attacker recovers them from undefended outputs.
 * @param {Outputs} outputs
 * @returns {import("./numerics.js").Matrix} [N, K].
 */
export function logProbsOf({ records, classes, probs }) {
  const values = new Float64Array(records * classes);
  for (let i = 0; i < records; i++) {
    const row = logProbabilities(probs.subarray(i * classes, (i + 1) * classes));
    const output = favour(softmax(row), argmax(row));
    values.set(logSoftmax(centred(logProbabilities(output))), i * classes);
  }
  return { rows: records, classes, values };
}

function checkProbabilities(values, classes) {
  const odd = values.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0) {
    throw new InputError(
      `probs hold ${shown(values[odd])} for model 0, record ${Math.floor(odd / classes)}, ` +
        `class ${odd % classes}.`,
      "Give finite numbers, and leave out records without an output.",
    );
  }
  const [least, most] = range(values);
  const sums = Array.from({ length: values.length / classes }, (_, i) =>
    values.subarray(i * classes, (i + 1) * classes).reduce((sum, value) => sum + value, 0),
  );
  const [low, high] = range(sums);
  if (values.length && least >= 0 && Math.max(Math.abs(low - 100), Math.abs(high - 100)) <= 100 * SUMS_TO_ONE) {
    throw new InputError("Every row of probs sums to 100.", "Divide percentages by 100.");
  }
  if (values.length && (least < 0 || most > 1 + SUMS_TO_ONE)) {
    throw new InputError(
      `probs hold ${asFloat(least < 0 ? least : most)}, which is not a probability.`,
      "Give probabilities, or call them logits; a label among p0 .. p{K-1} looks like this, too.",
    );
  }
  const away = sums.map((sum) => Math.abs(sum - 1));
  const record = away.reduce((worst, off, i) => (off > away[worst] ? i : worst), 0);
  if (!values.length || away[record] <= SUMS_TO_ONE) return;
  const several = 2 * away.filter((off) => off > SUMS_TO_ONE).length > sums.length;
  require(
    !(high > 1 + SUMS_TO_ONE && most <= 1 && several && high - low > SUMS_TO_ONE),
    "probs are between 0 and 1 and do not sum to 1: independent sigmoids, one for each class.",
    "Give logits or probabilities of classes that exclude each other; audit a model of several " +
      "yes-or-no labels one label at a time, as [1 - p, p]. If they are logits, subtract 1 from " +
      "all: it changes no probability.",
  );
  throw new InputError(
    `probs of model 0, record ${record} sum to ${Number(sums[record].toPrecision(4))}.`,
    "Probabilities of all K classes sum to 1; is a column missing or exchanged?",
  );
}

/** @param {ArrayLike<number>} values @returns {[number, number]} the least and the greatest. */
function range(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

/** Refuses labels that are missing, and fractions. */
function checkLabels(values) {
  const missing = "Give every record a label, or leave the record out.";
  if (Array.isArray(values)) {
    refuseMissing(values, "labels hold", missing);
    return values;
  }
  const infinite = values.findIndex((value) => !Number.isFinite(value));
  require(infinite < 0, `labels hold ${shown(values[infinite])} in row ${infinite}.`, missing);
  const odd = values.findIndex((value) => !Number.isInteger(value));
  require(
    odd < 0,
    `labels hold ${shown(values[odd])} in row ${odd}.`,
    "Unknown label type: labels are class numbers from 0, or texts; is a column of probabilities " +
      "in their place?",
  );
  return values;
}

/** Class numbers; texts, which are not all whole numbers here, are numbered in sorted order. */
function numbersOf(values, classes) {
  if (Array.isArray(values)) {
    const names = [...new Set(values)].sort();
    require(
      names.length === classes,
      `labels hold ${names.length} different texts, and there are ${classes} classes.`,
      "Give class numbers from 0, in the model's order: texts are numbered in sorted order, which " +
        "needs every class.",
    );
    return Int32Array.from(values, (value) => names.indexOf(value));
  }
  const [least, most] = range(values);
  require(
    !(least === 1 && most === classes),
    `labels go from 1 to ${classes} with ${classes} classes.`,
    "Count classes from 0: subtract 1.",
  );
  const outside = values.find((value) => value < 0 || value >= classes);
  require(
    outside === undefined,
    `labels hold ${outside} with ${classes} classes.`,
    `Labels count from 0 to ${classes - 1}.`,
  );
  return Int32Array.from(values);
}

function checkMember(values) {
  const remedy = "Use 1 for trained on, 0 for not trained on, -1 for unknown.";
  const texts = Array.isArray(values);
  if (texts) refuseMissing(values, "member holds", remedy);
  const numbers = texts ? values.map(numberOf) : values;
  const odd =
    numbers.findIndex((value) => !texts && !Number.isFinite(value)) + 1 ||
    numbers.findIndex((value) => value !== 1 && value !== 0 && value !== -1) + 1;
  if (odd > 0) {
    const value = values[odd - 1];
    throw new InputError(`member holds ${texts ? shown(value) : asFloat(value)} in row ${odd - 1}.`, remedy);
  }
  return Int8Array.from(numbers);
}

/** Refuses texts that stand for a missing value. */
function refuseMissing(values, holds, remedy) {
  const row = values.findIndex((value) => ["", "nan", "<na>"].includes(value.toLowerCase()));
  if (row < 0) return;
  // An empty cell goes before a word, as it is None for the package.
  const empty = values.indexOf("");
  throw new InputError(
    `${holds} ${empty < 0 ? shown(values[row]) : "None"} in row ${empty < 0 ? row : empty}.`,
    remedy,
  );
}

/** Refuses labels of which only membership, and membership of which only labels can be made. */
function checkNotExchanged(labels, member) {
  if (labels.length === 0 || !labels.every((value) => value === 0 || value === 1)) return;
  const odd = member.filter((value) => value !== -1 && value !== 0 && value !== 1);
  if (odd.length > 0 && odd.every(Number.isInteger)) {
    throw new InputError(
      `labels hold only 0 and 1, and member holds ${asFloat(range(odd)[1])}: ` +
        "labels and member look exchanged.",
      "Exchange the two.",
    );
  }
}

/** Refuses labels and membership that changed places, by the balanced agreement of predictions. */
function checkPredictions(predicted, labels, member) {
  if (predicted.length === 0 || !labels.every((value) => value === 0 || value === 1)) return;
  const [right, error] = balancedAgreement(predicted, labels);
  const [other, otherError] = balancedAgreement(predicted, member);
  if (other <= right + 0.25 || other - right < 4 * Math.hypot(error, otherError) || right >= 0.6) return;
  const percent = (share) => `${Math.round(100 * share)}%`;
  throw new InputError(
    `The model's predictions agree with member in ${percent(other)} of the records, both values ` +
      `counted alike, and with labels in ${percent(right)}: labels and member look exchanged.`,
    "Exchange the two.",
  );
}

/** Mean of the shares of zeros predicted as 0 and of ones predicted as 1, and its standard error. */
function balancedAgreement(predicted, flags) {
  let [mean, variance] = [0, 0];
  for (const value of [0, 1]) {
    const hits = predicted.filter((_, i) => flags[i] === value).map((label) => label === value);
    const share = hits.length ? hits.filter(Boolean).length / hits.length : 0.5;
    mean += share / 2;
    variance += (hits.length ? (share * (1 - share)) / hits.length : 0.25) / 4;
  }
  return [mean, Math.sqrt(variance)];
}

function checkEnough(member) {
  for (const [value, kind, others] of [
    [1, "members", "non-members"],
    [0, "non-members", "members"],
  ]) {
    const count = member.reduce((sum, use) => sum + (use === value), 0);
    const sentence = `Model 0 has ${count || "no"} ${kind} among ${member.length} records.`;
    if (count === 0) {
      const unknown = member.reduce((sum, use) => sum + (use < 0), 0);
      const code = value ? "members are 1" : "non-members are 0";
      const also = unknown ? `, or unknown: ${unknown} are -1, and ${code}.` : ".";
      throw new InputError(sentence, `An audit compares both: all of them are ${others} here${also}`);
    }
    if (count < LEAST) {
      throw new TooFewRecordsError(
        sentence,
        `Give at least ${LEAST}; a few thousand say something about low error rates.`,
      );
    }
  }
}
