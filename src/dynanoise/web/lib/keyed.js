/**
 * Keyed noise, version 1: the same output every time, a keyed function of a coarse cell of the logits.
 *
 * docs/keyed.md has the construction and its threat model. A root secret in a page is not secret: this
 * shows the attacker's view, with a key made for the page.
 */

import { bitsOf, fromHex, hex, joined, lengthPrefixed, utf8 } from "./bytes.js";
import { hmac, siphash128, stream } from "./cipher.js";
import { answer, parametersOf } from "./dynanoise.js";
import { InputError, require, shown } from "./errors.js";
import { normalsV1, uniforms, wordsFor } from "./normals.js";
import { TINY, argmax, checkedLogits, shift } from "./numerics.js";

/** Cells below the largest logit that are told apart; larger distances count as this one. */
const FARTHEST = 2 ** 20;

/** @typedef {import("./numerics.js").Row} Row */
/** @typedef {import("./dynanoise.js").Parameters} Parameters */
/** @typedef {{ root: Uint8Array, model: string, weights: string, cellWidth: number }} Keyed */
/** @typedef {{ subkey: Uint8Array, cellKey: Uint8Array, offsets: Float64Array }} Bound */

/**
 * @param {object} given
 * @param {Uint8Array | string} given.root 32 bytes, or 64 hexadecimal digits.
 * @param {string} given.model the model's name.
 * @param {string} given.weights SHA-256 of its weights, 64 hexadecimal digits.
 * @param {number} given.cellWidth Delta > 0, in logits.
 * @returns {Readonly<Keyed>}
 */
export function keyed({ root, model, weights, cellWidth }) {
  const bytes = typeof root === "string" ? fromHex(root, "root") : Uint8Array.from(root);
  require(bytes.length === 32, `root has ${bytes.length} bytes.`, "Pass 32 of them.");
  require(typeof model === "string", `model is ${shown(model)}.`, "Pass the model's name as text.");
  if (typeof weights !== "string" || !/^[0-9a-fA-F]{64}$/.test(weights)) {
    throw new InputError(
      "weights are not a SHA-256.",
      "Pass the SHA-256 of the model's weights as 64 hexadecimal digits.",
    );
  }
  require(
    cellWidth >= TINY && Number.isFinite(cellWidth * FARTHEST),
    `cellWidth is ${shown(cellWidth)}.`,
    "Use a finite number above 0; start with 2 to 3 times the median gap between the two largest logits.",
  );
  return Object.freeze({ root: bytes, model, weights: weights.toLowerCase(), cellWidth });
}

/** @param {Uint8Array} root @returns {string} 16 digits that name a root and tell nothing else. */
export function keyId(root) {
  return hex(hmac(root, utf8("dynanoise/key id/v1")).subarray(0, 8));
}

/**
 * JSON as Python writes it with sorted keys and no spaces, everything in ASCII.
 * @param {Record<string, unknown>} values
 */
function canonical(values) {
  const sorted = Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));
  const escaped = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(sorted).replace(/[\u007f-\uffff]/g, escaped);
}

/**
 * DynaNoise with every parameter as one text: the purpose of the noise.
 * @param {Partial<Parameters>} parameters
 */
export function purpose(parameters) {
  const set = parametersOf(parameters);
  return canonical({
    defense: "dynanoise",
    base_variance: bitsOf(set.baseVariance),
    lambda_scale: bitsOf(set.lambdaScale),
    temperature: bitsOf(set.temperature),
    samples: set.samples,
    sensitivity: set.sensitivity,
    keep_label: set.keepLabel,
  });
}

/**
 * All parameters as one text; floats by the 16 digits of their bits.
 * @param {number} classes
 * @param {number} draws
 * @param {number} cellWidth
 * @param {string} what see `purpose`.
 */
export function setting(classes, draws, cellWidth, what) {
  return canonical({ cell_width: bitsOf(cellWidth), classes, draws, purpose: what });
}

/**
 * The keys of answers about so many classes with such a defense; as secret as the root.
 * @param {Keyed} noise
 * @param {number} classes
 * @param {Partial<Parameters>} parameters
 * @returns {Bound}
 */
export function bound(noise, classes, parameters) {
  const set = parametersOf(parameters);
  const draws = set.baseVariance > 0 ? set.samples : 0;
  const parts = [
    utf8("dynanoise/keyed/v1"),
    utf8(noise.model),
    fromHex(noise.weights),
    utf8(keyId(noise.root)),
    utf8(setting(classes, draws, noise.cellWidth, purpose(set))),
  ];
  const subkey = hmac(noise.root, lengthPrefixed(...parts));
  const cellKey = hmac(subkey, utf8("cell")).slice(0, 16);
  const offsets = uniforms(stream(hmac(subkey, utf8("dither")), 0, 2 * classes));
  return { subkey, cellKey, offsets };
}

/**
 * Which cell a query falls into, and its label: all that an answer knows of it.
 * @param {Row} logits
 * @param {number} cellWidth
 * @param {Float64Array} offsets
 * @returns {{ cell: Int32Array, label: number, base: Float64Array }} base: the cell's representative.
 */
export function cellOf(logits, cellWidth, offsets) {
  const row = checkedLogits(logits);
  const farthest = FARTHEST * cellWidth;
  const cell = Int32Array.from(shift(row), (below, i) =>
    Math.floor(Math.min(-below, farthest) / cellWidth + offsets[i]),
  );
  const base = Float64Array.from(cell, (c, i) => -(c - offsets[i] + 0.5) * cellWidth);
  return { cell, label: argmax(row), base };
}

/** (tag | c | label) as little-endian 32-bit words. */
function encoded(cell, label, tag) {
  const words = new DataView(new ArrayBuffer(4 * (cell.length + 2)));
  [tag, ...cell, label].forEach((word, i) => words.setInt32(4 * i, word, true));
  return new Uint8Array(words.buffer);
}

/**
 * The ChaCha20 key of a cell and label.
 * @param {Uint8Array} cellKey 16 bytes.
 * @param {Int32Array} cell
 * @param {number} label
 * @returns {Uint8Array} 32 bytes.
 */
export function rowKey(cellKey, cell, label) {
  return joined(...[0, 1].map((tag) => siphash128(encoded(cell, label, tag), cellKey)));
}

/**
 * Draws the parts of an output.
 * @param {Keyed} noise
 * @param {Row} logits
 * @param {Partial<Parameters>} parameters
 * @param {Bound} keys pass those of `bound` again to ask often.
 * @returns {{ base: Float64Array, normals: Float64Array, cell: Int32Array, label: number }}
 *   normals: `samples * K`, draw by draw; none without variance.
 */
export function draw(noise, logits, parameters, keys = bound(noise, logits.length, parameters)) {
  const set = parametersOf(parameters);
  const { cell, label, base } = cellOf(logits, noise.cellWidth, keys.offsets);
  const draws = set.baseVariance > 0 ? set.samples : 0;
  const classes = logits.length;
  const normals = new Float64Array(draws * classes);
  const key = rowKey(keys.cellKey, cell, label);
  for (let nonce = 0; nonce < draws; nonce++) {
    const words = stream(key, nonce, wordsFor(classes));
    normals.set(normalsV1(words, classes), nonce * classes);
  }
  return { base, normals, cell, label };
}

/**
 * DynaNoise's answer under keyed noise: the same for every query of the same cell and label.
 * @param {Keyed} noise
 * @param {Row} logits
 * @param {Partial<Parameters>} parameters
 * @param {Bound} keys see `draw`.
 * @returns {Float64Array} probabilities.
 */
export function keyedAnswer(noise, logits, parameters, keys = bound(noise, logits.length, parameters)) {
  const { base, normals } = draw(noise, logits, parameters, keys);
  return answer(logits, parameters, normals, base);
}
