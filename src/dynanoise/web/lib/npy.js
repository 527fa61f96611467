/** One array as numpy writes it (format versions 1 to 3), without pickle and without evaluating it. */

import { InputError, require } from "./errors.js";

/**
 * @typedef {object} Numbers an array of numbers.
 * @property {string} dtype as numpy names it, such as "float32".
 * @property {number[]} shape
 * @property {Float64Array} values in C order.
 */

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** Bytes of a header that are read, as in numpy. */
const LONGEST = 10000;

/** By dtype without byte order: name, bytes, and how DataView reads one. */
const KINDS = {
  f2: ["float16", 2, (view, at, little) => half(view.getUint16(at, little))],
  f4: ["float32", 4, (view, at, little) => view.getFloat32(at, little)],
  f8: ["float64", 8, (view, at, little) => view.getFloat64(at, little)],
  i1: ["int8", 1, (view, at) => view.getInt8(at)],
  i2: ["int16", 2, (view, at, little) => view.getInt16(at, little)],
  i4: ["int32", 4, (view, at, little) => view.getInt32(at, little)],
  i8: ["int64", 8, (view, at, little) => Number(view.getBigInt64(at, little))],
  u1: ["uint8", 1, (view, at) => view.getUint8(at)],
  u2: ["uint16", 2, (view, at, little) => view.getUint16(at, little)],
  u4: ["uint32", 4, (view, at, little) => view.getUint32(at, little)],
  u8: ["uint64", 8, (view, at, little) => Number(view.getBigUint64(at, little))],
  b1: ["bool", 1, (view, at) => (view.getUint8(at) ? 1 : 0)],
};

/** @param {number} bits of an IEEE 754 float16. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/**
 * @param {string} file
 * @param {string} name of the array.
 * @param {Uint8Array} bytes of the .npy file.
 * @param {number} most values that are still acceptable.
 * @returns {Numbers}
 */
export function readNpy(file, name, bytes, most) {
  const { descr, fortran, shape, start } = header(file, name, bytes);
  const match = /^([<>|=])([a-z][0-9]+)$/.exec(descr);
  if (!match || !Object.hasOwn(KINDS, match[2])) {
    throw new InputError(
      `${file} holds ${name} of dtype ${descr}.`,
      descr.endsWith("O")
        ? "That takes pickle, which can run anything: save arrays of numbers."
        : "Save arrays of numbers or booleans, such as float32.",
    );
  }
  const [dtype, width, read] = KINDS[match[2]];
  const count = shape.reduce((product, length) => product * length, 1);
  require(
    count <= most,
    `${name} in ${file} has shape (${shape.join(", ")}): ${count} numbers, and ${most} fit.`,
    "Audit a part of the records here, or all of them by `dynanoise audit`.",
  );
  require(
    bytes.length - start === count * width,
    `${name} in ${file} has ${bytes.length - start} bytes for ${count} numbers of ${width} bytes.`,
    "The file is damaged: save it again.",
  );
  const view = new DataView(bytes.buffer, bytes.byteOffset + start);
  const values = new Float64Array(count);
  const little = match[1] !== ">";
  for (let i = 0; i < count; i++) values[i] = read(view, i * width, little);
  return { dtype, shape, values: fortran && shape.length > 1 ? inCOrder(values, shape) : values };
}

/** The header is a Python dictionary of three known keys; anything else is refused. */
function header(file, name, bytes) {
  const bad = (what) => {
    throw new InputError(
      `${name} in ${file} is no array of numpy (${what}).`,
      "Save it by np.savez(path, probs=probs, labels=labels, member=member).",
    );
  };
  if (bytes.length < 12 || MAGIC.some((byte, i) => bytes[i] !== byte)) bad("its first bytes");
  const version = bytes[6];
  if (version < 1 || version > 3) bad(`format version ${version}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [from, length] = version === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  if (length > LONGEST || from + length > bytes.length) bad(`a header of ${length} bytes`);
  const text = new TextDecoder().decode(bytes.subarray(from, from + length)).trim();
  const form = /^\{(?:\s*'(?:descr|fortran_order|shape)'\s*:\s*(?:'[^']*'|True|False|\([0-9,\sL]*\)|\[.*\])\s*,?)*\s*\}$/s;
  const descr = /'descr'\s*:\s*(?:'([^']*)'|(\[))/.exec(text);
  const fortran = /'fortran_order'\s*:\s*(True|False)/.exec(text);
  const shape = /'shape'\s*:\s*\(([0-9,\sL]*)\)/.exec(text);
  if (!form.test(text) || !descr || !fortran || !shape) bad("its header");
  const lengths = shape[1].split(",").map((part) => part.replace("L", "").trim());
  const sizes = lengths.filter((part) => part !== "").map(Number);
  if (!sizes.every(Number.isSafeInteger)) bad("its shape");
  return {
    descr: descr[2] ? "of several fields" : descr[1],
    fortran: fortran[1] === "True",
    shape: sizes,
    start: from + length,
  };
}

/** From the first axis running fastest to the last one. */
function inCOrder(values, shape) {
  const steps = [];
  shape.reduce((step, length, axis) => ((steps[axis] = step), step * length), 1);
  const found = new Float64Array(values.length);
  const place = shape.map(() => 0);
  let from = 0;
  for (let i = 0; i < found.length; i++) {
    found[i] = values[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place[axis] += 1;
      from += steps[axis];
      if (place[axis] < shape[axis]) break;
      from -= place[axis] * steps[axis];
      place[axis] = 0;
    }
  }
  return found;
}
