/** Tables of outputs in CSV: columns p0 .. p{K-1}, label and member, one row for each record. */

import { InputError, shown } from "./errors.js";

/** Bytes of the largest file that is read. */
const LARGEST = 2 ** 28;
/** Numbers of one file that are read at most: 256 MiB as float64. */
const MOST = 2 ** 25;
/** Characters of a line, enough for 100,000 classes. */
const LONGEST = 2 ** 22;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const NAMES = ["label", "member"];
/** Names of a column of labels, the first that a file has before the others. */
const LABELS = [["label", "labels"], ["class"], ["target"], ["y"]];
/** Separators of cells; in the line of column names the one that makes most of them is used. */
const SEPARATORS = [",", ";", "\t", "|"];
/** Cells without a number in a column of numbers, in small letters. */
const NULLS = new Set(["", "na", "n/a", "nan", "-nan", "null", "none", "#n/a", "<na>"]);

/**
 * @typedef {object} Table
 * @property {number} records N.
 * @property {number} classes K.
 * @property {Float64Array} probs [N, K].
 * @property {Float64Array | string[] | null} label [N], texts if a cell is not a number; null
 *   without such a column.
 * @property {Float64Array | string[] | null} member [N], likewise.
 */

/**
 * Reads the columns of a file, as `read_columns` of dynanoise/data/columns.py does.
 * @param {string} file its name, for messages.
 * @param {ArrayBuffer} buffer UTF-8, or UTF-16 with a byte order mark.
 * @param {number} most numbers that are read.
 * @returns {Table}
 */
export function readCsv(file, buffer, most = MOST) {
  if (buffer.byteLength > LARGEST) {
    throw tooLarge(file, `${Math.round(buffer.byteLength / 2 ** 20)} MiB`);
  }
  const text = decode(file, buffer);
  const { separator, start, names: all } = dialectOf(file, text);
  if (all.length > 0 && all.every((name) => numberOf(name) !== null)) {
    throw new InputError(`The first line of ${file} holds numbers.`, "Begin it with a line of column names.");
  }
  const again = all.find((name) => all.indexOf(name) < all.lastIndexOf(name));
  if (again !== undefined) throw twice(file, `the column ${shown(again)} twice`);
  const rows = [];
  for (const { cells, line } of rowsOf(file, text, separator, start)) {
    if (line === start.line) continue;
    if (cells.length !== all.length) {
      if (cells.join("").trim() === "") continue;
      throw new InputError(
        `${file} has ${all.length} column names and ${cells.length} columns in line ${line}.`,
        "Name every column, and give every record all of them.",
      );
    }
    if ((rows.length + 1) * all.length > most) throw tooLarge(file, `more than ${most} numbers`);
    rows.push(cells);
  }
  const columns = new Map(all.map((name, place) => [name, columnOf(rows, place, separator !== ",")]));
  leaveOutIndex(file, columns, all[0]);
  const spelled = spell(file, [...columns.keys()]);
  const numbered = numberedOf(file, [...spelled.keys()]);
  const order = numbered.map((name) => {
    const column = columns.get(spelled.get(name));
    if (Array.isArray(column)) {
      const row = column.findIndex((cell) => numberOf(cell) === null);
      throw new InputError(
        `The column '${name}' of ${file} holds the text ${shown(column[row].slice(0, 40))} in row ${row}.`,
        "Probabilities are numbers.",
      );
    }
    return column;
  });
  const classes = order.length;
  const probs = new Float64Array(rows.length * classes);
  order.forEach((column, k) => column.forEach((value, i) => (probs[i * classes + k] = value)));
  const column = (name) => (spelled.has(name) ? columns.get(spelled.get(name)) : null);
  return { records: rows.length, classes, probs, label: column("label"), member: column("member") };
}

function decode(file, buffer) {
  const [first, second] = new Uint8Array(buffer.slice(0, 2));
  const wide = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  const encoding = wide ? (first === 0xff ? "utf-16le" : "utf-16be") : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(buffer);
  } catch {
    throw unreadable(file, "it is not UTF-8 text");
  }
}

/** Separator and column names, from the first lines; a line "sep=;" names the separator. */
function dialectOf(file, text) {
  const start = { place: 0, line: 1 };
  let separators = SEPARATORS;
  for (;;) {
    const end = endOfLine(text, start.place);
    const line = text.slice(start.place, end).trim();
    const named = /^"?sep=(.)"?$/.exec(line);
    if (named) separators = [named[1]];
    if ((line !== "" && !named) || end >= text.length) break;
    start.place = end + 1;
    start.line += 1;
    if (named) break;
  }
  if (!SEPARATORS.includes(separators[0])) {
    throw new InputError(
      `${file} names the separator ${shown(separators[0])}.`,
      "Separate cells by commas, semicolons, tabs, bars.",
    );
  }
  let best = null;
  for (const separator of separators) {
    const first = rowsOf(file, text, separator, start).next().value;
    const names = first && first.cells.join("") !== "" ? first.cells.map((name) => name.trim()) : [];
    if (best === null || names.length > best.names.length) best = { separator, start, names };
  }
  return best;
}

const endOfLine = (text, place) => {
  const next = text.indexOf("\n", place);
  return next < 0 ? text.length : next;
};

/** Row by row, so that a large file is not held twice; a quoted cell may hold separators and ends. */
function* rowsOf(file, text, separator, start) {
  let { place, line } = start;
  while (place < text.length) {
    const first = line;
    let end = endOfLine(text, place);
    let row = text.slice(place, end);
    while (row.includes('"') && end < text.length && open(row)) {
      const next = endOfLine(text, end + 1);
      row += text.slice(end, next);
      [end, line] = [next, line + 1];
      if (row.length > LONGEST) break;
    }
    if (row.length > LONGEST) throw unreadable(file, `a line has ${row.length} characters`);
    row = row.replace(/\r$/, "");
    yield { cells: row.includes('"') ? quoted(row, separator) : row.split(separator), line: first };
    [place, line] = [end + 1, line + 1];
  }
}

/** True if a quote is not closed: a cell goes on in the next line. */
const open = (row) => (row.split('"').length - 1) % 2 === 1;

/** Cells of a row with quotes, which are doubled inside of quoted cells. */
function quoted(row, separator) {
  const cells = [];
  let [cell, inside, whole] = ["", false, false];
  for (let i = 0; i < row.length; i++) {
    const letter = row[i];
    if (inside && letter === '"' && row[i + 1] === '"') {
      cell += letter;
      i += 1;
    } else if (letter === '"' && (inside || (!whole && cell.trim() === ""))) {
      if (!inside) cell = "";
      [inside, whole] = [!inside, true];
    } else if (letter === separator && !inside) {
      cells.push(cell);
      [cell, whole] = ["", false];
    } else cell += letter;
  }
  return [...cells, cell];
}

/** Numbers, NaN for a missing one; or the cells, if one of them is something else. */
function columnOf(rows, place, commas) {
  const cells = rows.map((cells) => cells[place].trim());
  const decimal = commas && cells.some((cell) => cell.includes(","));
  if (decimal && cells.some((cell) => cell.includes("."))) return cells;
  const numbers = cells.map((cell) => numberOf(decimal ? cell.replaceAll(",", ".") : cell));
  return numbers.includes(null) ? cells : Float64Array.from(numbers);
}

/** Takes out the index that data frames write into a first column without a name. */
function leaveOutIndex(file, columns, first) {
  if (first === undefined || !/^(unnamed: \d+)?$/i.test(first)) return;
  const column = columns.get(first);
  if (!Array.isArray(column) && !column.every(Number.isInteger)) {
    throw new InputError(`The first column of ${file} has no name.`, "Name every column, or leave it out.");
  }
  columns.delete(first);
}

/** The columns' own names by those that are read: p0 and on, label and member. */
function spell(file, names) {
  const small = (name) => name.toLowerCase();
  let label;
  for (const group of LABELS) {
    const named = names.filter((name) => group.includes(small(name)));
    if (named.length > 1) {
      throw new InputError(`${file} holds both '${named[0]}' and '${named[1]}'.`, "Keep one column of labels.");
    }
    label ??= named[0];
  }
  const spelled = new Map();
  for (const name of names) {
    const known = /^p\d+$/i.test(name) || small(name) === "member";
    const read = name === label ? "label" : known ? small(name) : name;
    if (spelled.has(read)) throw twice(file, "a column twice");
    spelled.set(read, name);
  }
  return spelled;
}

/** The columns of probabilities in their order; refuses other names and gaps. */
function numberedOf(file, names) {
  const unknown = names.filter((name) => !/^p\d+$/.test(name) && !NAMES.includes(name));
  if (unknown.length) throw unknownColumns(file, unknown);
  const numbered = names
    .filter((name) => /^p\d+$/.test(name))
    .sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
  if (numbered.length < 2 || numbered.some((name, i) => Number(name.slice(1)) !== i)) {
    throw new InputError(
      `${file} has these columns of probabilities: ${(numbered.join(", ") || "none").slice(0, 200)}.`,
      "Give one for each of K classes, p0 to p{K-1}, beside label and member.",
    );
  }
  return numbered;
}

/** Names the unknown columns, each with the known one that is nearest to it. */
function unknownColumns(file, unknown) {
  const near = unknown.map(nearest);
  const listed = unknown.map((name, i) => `'${name.slice(0, 60)}'${near[i] ? ` (${near[i]}?)` : ""}`);
  const other = unknown.filter((_, i) => !near[i]);
  // The page, unlike the command, has no options that name persons or groups.
  const hint = other.length ? `Leave ${other.join(", ")} out. ` : "";
  return new InputError(
    `${file} holds unknown columns: ${listed.join(", ")}.`,
    `${hint}Known: p0, p1, ..., ${NAMES.join(", ")}.`,
  );
}

/** The known name that is close to an unknown one; "" if none is. */
function nearest(unknown) {
  const [close] = NAMES
    .map((name) => ({ name, far: distance(unknown.toLowerCase(), name) }))
    .filter(({ name, far }) => far <= Math.max(unknown.length, name.length) / 2)
    .sort((a, b) => a.far - b.far);
  return close ? close.name : "";
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

/** The number of a cell as the package reads it, NaN for a missing one; null for text. */
export function numberOf(text) {
  const cell = text.trim().toLowerCase();
  if (NULLS.has(cell)) return NaN;
  if (cell === "true" || cell === "false") return cell === "true" ? 1 : 0;
  if (NUMBER.test(cell)) return Number(cell);
  return /^[+-]?inf(inity)?$/.test(cell) ? (cell[0] === "-" ? -Infinity : Infinity) : null;
}

const twice = (file, what) => new InputError(`${file} has ${what}.`, "Name every column once.");

function unreadable(file, reason) {
  return new InputError(
    `${file} cannot be read as csv (${reason}).`,
    "Save it as csv in UTF-8, with a first line of column names.",
  );
}

function tooLarge(file, size) {
  return new InputError(
    `${file} has ${size}, which is too much for a page.`,
    "Audit a part of the records here, or all of them by `dynanoise audit`.",
  );
}
