/** Tables of outputs in CSV: columns p0 .. p{K-1}, label and member, one row for each record. */

import { InputError } from "./errors.js";

/** Bytes of the largest file that is read. */
const LARGEST = 2 ** 28;
/** Numbers of one file that are read at most: 256 MiB as float64. */
const MOST = 2 ** 25;
/** Characters of a line, enough for 100,000 classes. */
const LONGEST = 2 ** 22;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const NAMES = ["label", "member"];

/**
 * @typedef {object} Table
 * @property {number} records N.
 * @property {number} classes K.
 * @property {Float64Array} probs [N, K].
 * @property {Float64Array | null} label [N]; null without such a column.
 * @property {Float64Array | null} member [N]; null without such a column.
 */

/**
 * Reads the columns of a file.
 * @param {string} file its name, for messages.
 * @param {ArrayBuffer} buffer UTF-8.
 * @param {number} most numbers that are read.
 * @returns {Table}
 */
export function readCsv(file, buffer, most = MOST) {
  if (buffer.byteLength > LARGEST) {
    throw tooLarge(file, `${Math.round(buffer.byteLength / 2 ** 20)} MiB`);
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
  const classes = classesOf(file, names);
  const records = [];
  let number = 1;
  for (const line of lines) {
    number += 1;
    if (line.trim() === "") continue;
    const cells = line.split(",");
    if (cells.length !== names.length) {
      throw new InputError(
        `${file} has ${names.length} column names and ${cells.length} columns in line ${number}.`,
        "Name every column, and give every record all of them.",
      );
    }
    if ((records.length + 1) * names.length > most) throw tooLarge(file, `more than ${most} numbers`);
    records.push(Float64Array.from(cells, (cell) => cellOf(file, cell, number)));
  }
  const column = (name) => {
    const place = names.indexOf(name);
    return place < 0 ? null : Float64Array.from(records, (record) => record[place]);
  };
  const order = Array.from({ length: classes }, (_, i) => names.indexOf(`p${i}`));
  const probs = new Float64Array(records.length * classes);
  records.forEach((record, i) => order.forEach((place, k) => (probs[i * classes + k] = record[place])));
  return { records: records.length, classes, probs, label: column("label"), member: column("member") };
}

/** A column's name without white space and quotes. @param {string} text */
const nameOf = (text) => text.trim().replace(/^"(.*)"$/, "$1").trim();

/** Line by line, so that a large file is not held twice. */
function* linesOf(file, text) {
  for (let start = 0; start < text.length; ) {
    const next = text.indexOf("\n", start);
    const end = next < 0 ? text.length : next;
    if (end - start > LONGEST) throw unreadable(file, `a line has ${end - start} characters`);
    yield text.slice(start, end).replace(/\r$/, "");
    start = end + 1;
  }
}

/** The number of classes by the columns' names; refuses other names and gaps. */
function classesOf(file, names) {
  if (new Set(names).size < names.length) {
    throw new InputError(`${file} has a column twice.`, "Name every column once.");
  }
  const unknown = names.find((name) => !/^p\d+$/.test(name) && !NAMES.includes(name));
  if (unknown !== undefined) throw unknownColumn(file, unknown);
  const numbers = names
    .filter((name) => /^p\d+$/.test(name))
    .map((name) => Number(name.slice(1)))
    .sort((a, b) => a - b);
  if (numbers.length < 2 || numbers.some((number, i) => number !== i)) {
    const list = numbers.map((number) => `p${number}`).join(", ") || "none";
    throw new InputError(
      `${file} has these columns of probabilities: ${list.slice(0, 200)}.`,
      "Give one for each of K classes, p0 to p{K-1}, beside label and member.",
    );
  }
  return numbers.length;
}

/** Names the unknown column and the known one that is nearest to it. */
function unknownColumn(file, unknown) {
  const [close] = NAMES
    .map((name) => ({ name, far: distance(unknown, name) }))
    .filter(({ name, far }) => far <= Math.max(unknown.length, name.length) / 2)
    .sort((a, b) => a.far - b.far);
  const hint = close ? `Did you mean '${close.name}'? ` : "";
  return new InputError(
    `${file} holds the unknown '${unknown.slice(0, 60)}' among its columns.`,
    `${hint}Known: ${NAMES.join(", ")}.`,
  );
}

/** Levenshtein's distance: letters to insert, leave out or exchange. */
function distance(left, right) {
  if (left.length > 60) return Infinity;
  let row = Array.from({ length: right.length + 1 }, (_, i) => i);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const change = row[j - 1] + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[right.length];
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

function unreadable(file, reason) {
  return new InputError(
    `${file} cannot be read as csv of numbers (${reason}).`,
    "Every cell is a number: p0,p1,...,label,member.",
  );
}

function tooLarge(file, size) {
  return new InputError(
    `${file} has ${size}, which is too much for a page.`,
    "Audit a part of the records here, or all of them by `dynanoise audit`.",
  );
}
