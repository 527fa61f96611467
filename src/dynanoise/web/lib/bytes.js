/** Bytes, hexadecimal digits and text. */

import { InputError } from "./errors.js";

/** @param {string} text @returns {Uint8Array} UTF-8. */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/** @param {Uint8Array} bytes @returns {string} two digits a byte. */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string} digits
 * @param {string} name what they are; they are not shown, for they may be a secret.
 * @returns {Uint8Array}
 */
export function fromHex(digits, name = "The text") {
  if (typeof digits !== "string" || !/^([0-9a-fA-F]{2})*$/.test(digits)) {
    throw new InputError(`${name} is not hexadecimal.`, "Use an even number of digits 0-9, a-f.");
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** @param {Uint8Array[]} parts @returns {Uint8Array} one after the other. */
export function joined(...parts) {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let start = 0;
  for (const part of parts) {
    bytes.set(part, start);
    start += part.length;
  }
  return bytes;
}

/** Each part behind its length (4 bytes, big-endian), so that parts cannot run together. */
export function lengthPrefixed(...parts) {
  const withLengths = parts.map((part) => {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, part.length);
    return joined(length, part);
  });
  return joined(...withLengths);
}

/** @param {Uint8Array} bytes a multiple of 4. @returns {Uint32Array} little-endian words. */
export function littleWords(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}

/**
 * The 16 hexadecimal digits of a float64's bits, big-endian; -0 is written as 0.
 * @param {number} value
 * @returns {string}
 */
export function bitsOf(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value + 0);
  return hex(bytes);
}
