/** Tables of answers: columns p0 .. p{K-1}, label and member, one row a record. */

import { InputError } from "./errors.js";
import { known } from "./names.js";
import { MOST } from "./npz.js";

/** Bytes of a file that is read at most. */
const LARGEST = 2 ** 28;
/** Characters of a line, enough for 100,000 classes. */
const LONGEST = 2 ** 22;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/**
 * The columns of a file as the arrays `probs`, `labels` and `member`.
 * @param {string} file its name, for messages.
 * @param {ArrayBuffer} buffer UTF-8.
 * @param {number} most numbers that are read.
 * @returns {Result<string, import("./npy.js").Numbers>}
 */
export function readCsv(file, buffer, most = MOST) {
  if (buffer.byteLength > LARGEST) {
    throw tooMuch(file, `${Math.round(buffer.byteLength / 2 ** 20)} MiB`);
  }
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(buffer);
  } catch {
    throw unreadable(file, "it is no UTF-8 text");
  }
  const lines = linesOf(file, text);
  const first = lines.next().value ?? "";
  const names = first === "" ? [] : first.split(",").map(nameOf);
  if (names.length > 0 && names.every((name) => !Number.isNaN(numberOf(name)))) {
    throw new InputError(
      `The first line of ${file} holds numbers.`,
      "Begin it with column names: p0,p1,...,label,member.",
    );
  }
  const classes = columnsOf(file, names);
  const records = [];
  let line = 1;
  for (const one of lines) {
    line += 1;
    if (one.trim() === "") continue;
    const cells = one.split(",");
    if (cells.length !== names.length) {
      throw new InputError(
        `${file} has ${names.length} column names and ${cells.length} columns in line ${line}.`,
        "Name every column, and give every record all of them.",
      );
    }
    if ((records.length + 1) * names.length > most) throw tooMuch(file, `more than ${most} numbers`);
    records.push(Float64Array.from(cells, (cell) => cellOf(file, cell, line)));
  }
  const column = (name) => {
    const at = names.indexOf(name);
    if (at < 0) return null;
    const values = Float64Array.from(records, (record) => record[at]);
    return { dtype: "float64", shape: [records.length], values };
  };
  const order = Array.from({ length: classes }, (_, i) => names.indexOf(`p${i}`));
  const values = new Float64Array(records.length * classes);
  records.forEach((record, i) => order.forEach((at, k) => (values[i * classes + k] = record[at])));
  const found = {
    probs: { dtype: "float64", shape: [records.length, classes], values },
    labels: column("label"),
    member: column("member"),
  };
  return Object.fromEntries(Object.entries(found).filter(([, array]) => array !== null));
}

/** A column's name without white space and quotes. @param {string} text */
const nameOf = (text) => text.trim().replace(/^"(.*)"$/, "$1").trim();

/** Line by line, so that a large file is not held twice. */
function* linesOf(file, text) {
  for (let start = 0; start < text.length; ) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    if (end - start > LONGEST) throw unreadable(file, `a line has ${end - start} characters`);
    yield text.slice(start, end).replace(/\r$/, "");
    start = end + 1;
  }
}

/** How many classes the columns' names say there are; refuses other names and gaps. */
function columnsOf(file, names) {
  const others = names.filter((name) => !/^p\d+$/.test(name));
  if (new Set(names).size < names.length) {
    throw new InputError(`${file} has a column twice.`, "Name every column once.");
  }
  known(file, others, "columns", ["label", "member"]);
  const numbered = names
    .filter((name) => /^p\d+$/.test(name))
    .map((name) => Number(name.slice(1)))
    .sort((a, b) => a - b);
  if (numbered.length < 2 || numbered.some((number, i) => number !== i)) {
    const shown = numbered.map((number) => `p${number}`).join(", ") || "none";
    throw new InputError(
      `${file} has these columns of probabilities: ${shown.slice(0, 200)}.`,
      "Give one for each of K classes, p0 to p{K-1}, beside label and member.",
    );
  }
  return numbered.length;
}

/** A number as Python reads it, but for underscores; NaN for text. */
function numberOf(text) {
  const cell = text.trim();
  if (NUMBER.test(cell)) return Number(cell);
  return /^[+-]?inf(inity)?$/i.test(cell) ? (cell[0] === "-" ? -Infinity : Infinity) : NaN;
}

/** An empty cell is NaN, which is refused with its place where a number is needed. */
function cellOf(file, text, line) {
  const value = numberOf(text);
  if (Number.isNaN(value) && text.trim() !== "" && !/^[+-]?nan$/i.test(text.trim())) {
    throw unreadable(file, `line ${line} holds '${text.trim().slice(0, 40)}'`);
  }
  return value;
}

function unreadable(file, what) {
  return new InputError(
    `${file} cannot be read as csv of numbers (${what}).`,
    "Every cell is a number: p0,p1,...,label,member.",
  );
}

function tooMuch(file, what) {
  return new InputError(
    `${file} has ${what}, which is too much for a page.`,
    "Audit a part of the records here, or all of them by `dynanoise audit`.",
  );
}
