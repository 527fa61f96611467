/** A visitor's outputs, checked, so that no exchanged column becomes a finding. */

import { readCsv } from "./csv.js";
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
  const predicted = Array.from({ length: records }, (_, i) =>
    argmax(probs.subarray(i * classes, (i + 1) * classes)),
  );
  checkNotExchanged(predicted, label, member);
  const labels = checkLabels(label, classes);
  const use = checkMember(member);
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
      "Give finite numbers, and leave out records that were not answered.",
    );
  }
  const [least, most] = range(values);
  if (values.length && (least < 0 || most > 1 + SUMS_TO_ONE)) {
    throw new InputError(
      `probs hold ${asFloat(least < 0 ? least : most)}, which is not a probability.`,
      "Give probabilities, or call them logits; a label among p0 .. p{K-1} looks like this, too.",
    );
  }
  let [off, record, sum] = [0, 0, 1];
  for (let start = 0; start < values.length; start += classes) {
    let total = 0;
    for (let i = start; i < start + classes; i++) total += values[i];
    if (Math.abs(total - 1) > off) [off, record, sum] = [Math.abs(total - 1), start / classes, total];
  }
  require(
    off <= SUMS_TO_ONE,
    `probs of model 0, record ${record} sum to ${Number(sum.toPrecision(4))}.`,
    "Probabilities of all K classes sum to 1; is a column missing or exchanged?",
  );
}

/** @param {ArrayLike<number>} values @returns {[number, number]} the least and the greatest. */
function range(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

/** Refuses fractions and NaN. */
function checkWhole(values, name) {
  const odd = values.findIndex((value) => !Number.isInteger(value));
  require(
    odd < 0,
    `${name} hold ${shown(values[odd])} at [${odd}].`,
    "Whole numbers belong there; is a column of probabilities in its place?",
  );
}

function checkLabels(values, classes) {
  checkWhole(values, "labels");
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
  checkWhole(values, "member");
  const odd = values.find((value) => value !== 1 && value !== 0 && value !== -1);
  require(
    odd === undefined,
    `member holds ${odd}.`,
    "Use 1 for trained on, 0 for not trained on, -1 for unknown.",
  );
  return Int8Array.from(values);
}

/** Labels and membership change places easily, and every number that follows is nonsense. */
function checkNotExchanged(predicted, labels, member) {
  const records = predicted.length;
  if (records === 0 || !labels.every((value) => value === 0 || value === 1)) return;
  if (!member.every((value) => value === -1 || value === 0 || value === 1)) {
    throw new InputError(
      `labels hold only 0 and 1, and member holds ${asFloat(range(member)[1])}: ` +
        "labels and member look exchanged.",
      "Exchange the two.",
    );
  }
  const agreement = (values) => predicted.filter((label, i) => label === values[i]).length / records;
  const [right, other] = [agreement(labels), agreement(member)];
  if (other > right + 0.25) {
    const percent = (share) => `${Math.round(100 * share)}%`;
    throw new InputError(
      `The model's answers agree with member in ${percent(other)} of the records and with labels ` +
        `in ${percent(right)}: labels and member look exchanged.`,
      "Exchange the two.",
    );
  }
}

function checkEnough(member) {
  for (const [value, kind, others] of [
    [1, "members", "non-members"],
    [0, "non-members", "members"],
  ]) {
    const count = member.reduce((sum, use) => sum + (use === value), 0);
    const sentence = `Model 0 has ${count || "no"} ${kind} among ${member.length} records.`;
    if (count === 0) {
      throw new InputError(sentence, `An audit compares both: all of them are ${others} here, or unknown.`);
    }
    if (count < LEAST) {
      throw new TooFewRecordsError(
        sentence,
        `Give at least ${LEAST}; a few thousand say something about low error rates.`,
      );
    }
  }
}
