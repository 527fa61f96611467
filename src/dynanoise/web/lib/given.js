/** What a user gives for an audit: checked, so that no exchanged column becomes a finding. */

import { readCsv } from "./csv.js";
import { InputError, TooFewRecordsError, asFloat, require, shown } from "./errors.js";
import { logProbabilities, logSoftmax, centred, favour, argmax, softmax, TINY } from "./numerics.js";
import { readNpz } from "./npz.js";

/** Members, and non-members, that each model needs: half of them may be known to the attacker. */
export const LEAST = 40;

/** How far a row of probabilities may be from 1, so that rounded and float16 ones are taken. */
const SUMS_TO_ONE = 0.01;

/** @typedef {import("./npy.js").Numbers} Numbers */

/**
 * @typedef {object} Given what M models said about N records.
 * @property {string} name
 * @property {number} models M.
 * @property {number} records N.
 * @property {number} classes K.
 * @property {Float64Array} logits [M, N, K]; ln of probabilities where those were given.
 * @property {Int32Array} labels [N], 0 .. K-1.
 * @property {Int8Array} member [M, N]; 1 = trained on, 0 = not, -1 = unknown.
 * @property {{ logits: Float64Array, labels: Int32Array, records: number } | null} test
 */

/**
 * Reads and checks a user's file.
 * @param {string} file its name, whose ending says what it is.
 * @param {ArrayBuffer} buffer
 * @returns {Promise<Given>}
 */
export async function readFile(file, buffer) {
  const ending = /\.[^.]*$/.exec(file)?.[0] ?? "";
  const name = file.slice(0, file.length - ending.length);
  if (ending.toLowerCase() === ".npz") return givenOf(name, await readNpz(file, buffer));
  if (ending.toLowerCase() === ".csv") return givenOf(name, readCsv(file, buffer));
  throw new InputError(
    `${file} ends in ${ending || "nothing"}.`,
    ending.toLowerCase() === ".parquet"
      ? "Use .npz or .csv here; `dynanoise audit` reads parquet."
      : "Use one of .npz, .csv.",
  );
}

/**
 * Checks what belongs together, as `check_inputs` in dynanoise/audits/inputs.py does.
 * @param {string} name what the data are called.
 * @param {Result<string, Numbers | undefined>} arrays
 * @returns {Given}
 */
export function givenOf(name, arrays) {
  const said = answersOf(arrays, "");
  if (said === null) {
    throw new InputError(`${name} holds neither logits nor probs.`, "Give the models' outputs.");
  }
  const { models, records, classes } = said;
  if (!arrays.labels || !arrays.member) {
    throw new InputError(
      `${name} holds no ${arrays.labels ? "member" : "labels"}.`,
      "Give the true classes as labels, and the membership of every record as member.",
    );
  }
  notExchanged(said, arrays.labels, arrays.member);
  const labels = labelsOf(arrays.labels, records, classes, "labels");
  const member = memberOf(arrays.member, models, records);
  const test = testOf(arrays, said);
  enough(member, models, records);
  return { name, models, records, classes, logits: said.logits, labels, member, test };
}

/**
 * Log-probabilities of one model as an attacker makes them of its undefended answers.
 * @param {Given} given
 * @param {number} model
 * @returns {import("./numerics.js").Matrix} [N, K].
 */
export function logProbsOf(given, model = 0) {
  const { records, classes } = given;
  const values = new Float64Array(records * classes);
  for (let i = 0; i < records; i++) {
    const at = (model * records + i) * classes;
    const row = given.logits.subarray(at, at + classes);
    const answer = favour(softmax(row), argmax(row));
    values.set(logSoftmax(centred(logProbabilities(answer))), i * classes);
  }
  return { rows: records, classes, values };
}

function testOf(arrays, said) {
  const test = answersOf(arrays, "test_");
  if ((test === null) !== (arrays.test_labels === undefined)) {
    throw new InputError(
      "test_labels and test answers come one without the other.",
      "Give test_logits or test_probs with test_labels, or none of them.",
    );
  }
  if (test === null) return null;
  require(
    test.models === said.models && test.classes === said.classes,
    `The test answers have shape (${test.models}, ${test.records}, ${test.classes}), the others ` +
      `(${said.models}, ${said.records}, ${said.classes}).`,
    "Ask the same models about the test data, with the same classes.",
  );
  const labels = labelsOf(arrays.test_labels, test.records, test.classes, "test_labels");
  return { logits: test.logits, labels, records: test.records };
}

/** @param {number[]} shape */
const tuple = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

/** Logits [M, N, K] of whichever was given, or null. */
function answersOf(arrays, prefix) {
  const [logits, probs] = [arrays[`${prefix}logits`], arrays[`${prefix}probs`]];
  if (!logits && !probs) return null;
  if (logits && probs) {
    throw new InputError(`Both ${prefix}logits and ${prefix}probs were given.`, "Leave one out.");
  }
  const [given, kind] = logits ? [logits, `${prefix}logits`] : [probs, `${prefix}probs`];
  const { dtype, shape, values } = given;
  require(dtype.startsWith("float"), `${kind} have dtype ${dtype}.`, "Give float16, float32 or float64.");
  const whole = shape.length === 2 ? [1, ...shape] : shape;
  require(
    whole.length === 3 && whole[2] >= 2,
    `${kind} have shape ${tuple(shape)}.`,
    "Give [N, K], or [M, N, K] for M models, with K >= 2 classes.",
  );
  const [models, records, classes] = whole;
  require(models >= 1, `${kind} are of no model.`, "Give the answers of at least one.");
  const odd = values.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0) {
    const row = Math.floor(odd / classes);
    throw new InputError(
      `${kind} hold ${shown(values[odd])} for model ${Math.floor(row / records)}, ` +
        `record ${row % records}, class ${odd % classes}.`,
      "Give finite numbers, and leave out records that were not answered.",
    );
  }
  const found = { models, records, classes };
  const seen = rangeOf(values, classes);
  if (logits) {
    require(
      !(values.length && seen.least >= 0 && seen.off <= SUMS_TO_ONE),
      `Every row of ${kind} is positive and sums to 1: these are probabilities.`,
      `Call them ${prefix}probs.`,
    );
    return { ...found, logits: values };
  }
  if (values.length && (seen.least < 0 || seen.most > 1 + SUMS_TO_ONE)) {
    throw new InputError(
      `${kind} hold ${asFloat(seen.least < 0 ? seen.least : seen.most)}, which is not a probability.`,
      `Give probabilities, or call them ${prefix}logits; a label among p0 .. p{K-1} looks like this, too.`,
    );
  }
  require(
    seen.off <= SUMS_TO_ONE,
    `${kind} of model ${Math.floor(seen.worst / records)}, record ${seen.worst % records} ` +
      `sum to ${Number(seen.sum.toPrecision(4))}.`,
    "Probabilities of all K classes sum to 1; is a column missing or exchanged?",
  );
  return { ...found, logits: values.map((value) => Math.log(Math.max(value, TINY))) };
}

/** The least and greatest value, and the row whose sum is farthest from 1. */
function rangeOf(values, classes) {
  const seen = { least: Infinity, most: -Infinity, off: 0, worst: 0, sum: 1 };
  for (let start = 0; start < values.length; start += classes) {
    let sum = 0;
    for (let i = start; i < start + classes; i++) {
      sum += values[i];
      if (values[i] < seen.least) seen.least = values[i];
      if (values[i] > seen.most) seen.most = values[i];
    }
    if (Math.abs(sum - 1) > seen.off) {
      [seen.off, seen.worst, seen.sum] = [Math.abs(sum - 1), start / classes, sum];
    }
  }
  return seen;
}

/** Refuses fractions and what is not finite. @param {Numbers} array */
function whole(array, name) {
  const odd = array.values.findIndex((value) => !Number.isInteger(value));
  if (odd >= 0) {
    const place = [];
    let rest = odd;
    for (const length of [...array.shape].reverse()) {
      place.unshift(rest % length);
      rest = Math.floor(rest / length);
    }
    throw new InputError(
      `${name} hold ${shown(array.values[odd])} at [${place.join(", ")}].`,
      "Whole numbers belong there; is a column of probabilities in its place?",
    );
  }
  return array.values;
}

function labelsOf(array, records, classes, name) {
  const values = whole(array, name);
  require(
    array.shape.length === 1 && array.shape[0] === records,
    `${name} have shape ${tuple(array.shape)} for ${records} records.`,
    "Give one label a record; models that answered other records cannot be audited together.",
  );
  const [least, most] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  require(
    !(least === 1 && most === classes),
    `${name} go from 1 to ${classes} with ${classes} classes.`,
    "Count classes from 0: subtract 1.",
  );
  const outside = values.find((value) => value < 0 || value >= classes);
  require(
    outside === undefined,
    `${name} hold ${outside} with ${classes} classes.`,
    `Labels count from 0 to ${classes - 1}.`,
  );
  return Int32Array.from(values);
}

function memberOf(array, models, records) {
  const values = whole(array, "member");
  const { shape } = array;
  const good =
    (shape.length === 1 && models === 1 && shape[0] === records) ||
    (shape.length === 2 && shape[0] === models && shape[1] === records);
  require(
    good,
    `member has shape ${tuple(shape)} for ${models} models and ${records} records.`,
    "Say of every model and record whether it was trained on it: [M, N], for one model [N].",
  );
  const odd = values.find((value) => value !== 1 && value !== 0 && value !== -1);
  require(
    odd === undefined,
    `member holds ${odd}.`,
    "Use 1 for trained on, 0 for not trained on, -1 for unknown.",
  );
  return Int8Array.from(values);
}

/** Labels and membership change places easily, and every number that follows is nonsense. */
function notExchanged({ logits, records, classes }, labels, member) {
  const flat = (array) => array.shape.length === 1 && array.shape[0] === records;
  if (!flat(labels) || !flat(member) || records === 0) return;
  const flags = labels.values.every((value) => value === 0 || value === 1);
  if (flags && !member.values.every((value) => value === -1 || value === 0 || value === 1)) {
    const largest = member.values.reduce((a, b) => Math.max(a, b));
    const said = member.dtype.startsWith("float") ? asFloat(largest) : shown(largest);
    throw new InputError(
      `labels hold only 0 and 1, and member holds ${said}: ` +
        "labels and member look exchanged.",
      "Exchange the two.",
    );
  }
  let [right, other] = [0, 0];
  for (let i = 0; i < records; i++) {
    const preferred = argmax(logits.subarray(i * classes, (i + 1) * classes));
    right += preferred === labels.values[i] ? 1 : 0;
    other += preferred === member.values[i] ? 1 : 0;
  }
  if (flags && other / records > right / records + 0.25) {
    const percent = (count) => `${Math.round((100 * count) / records)}%`;
    throw new InputError(
      `The model's answers agree with member in ${percent(other)} of the records and with labels ` +
        `in ${percent(right)}: labels and member look exchanged.`,
      "Exchange the two.",
    );
  }
}

function enough(member, models, records) {
  for (const [value, kind, everybody] of [
    [1, "members", "non-members"],
    [0, "non-members", "members"],
  ]) {
    const counts = Array.from({ length: models }, (_, model) =>
      member.subarray(model * records, (model + 1) * records).reduce((sum, one) => sum + (one === value), 0),
    );
    const least = Math.min(...counts);
    const where = `Model ${counts.indexOf(least)} has ${least || "no"} ${kind} among ${records} records.`;
    if (least === 0) {
      throw new InputError(where, `An audit compares both: all of them are ${everybody} here, or unknown.`);
    }
    if (least < LEAST) {
      throw new TooFewRecordsError(
        where,
        `Give at least ${LEAST}; a few thousand say something about low error rates.`,
      );
    }
  }
}
