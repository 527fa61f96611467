/**
 * Random numbers of the page: seedable, and the state is the generator itself.
 *
 * sfc32 (C. Doty-Humphrey, PractRand) is not a cryptographic generator, so it must not defend a model.
 */

import { normalsV1, wordsFor } from "./normals.js";

/** @typedef {Uint32Array} Generator the state: a, b, c and the counter. */

/**
 * @param {number | string} seed
 * @returns {Generator} the same for the same seed.
 */
export function seeded(seed) {
  const text = `${typeof seed}:${seed}`;
  // FNV-1a with another offset for each word; the first 16 words then mix them.
  const state = Uint32Array.from([0x811c9dc5, 0x01000193, 0x9e3779b9, 1]);
  for (let i = 0; i < text.length; i++) {
    for (let word = 0; word < 3; word++) {
      state[word] = Math.imul(state[word] ^ (text.charCodeAt(i) + word), 0x01000193 + 2 * word);
    }
  }
  for (let i = 0; i < 16; i++) word(state);
  return state;
}

/** @returns {Generator} another one every time. */
export function anew() {
  const state = globalThis.crypto.getRandomValues(new Uint32Array(4));
  state[3] = 1;
  for (let i = 0; i < 16; i++) word(state);
  return state;
}

/** @param {Generator} generator moves on. @returns {number} 0 .. 2^32 - 1. */
export function word(generator) {
  const b = generator[1];
  const c = generator[2];
  const output = (generator[0] + b + generator[3]) >>> 0;
  generator[3] += 1;
  generator[0] = b ^ (b >>> 9);
  generator[1] = c + (c << 3);
  generator[2] = ((c << 21) | (c >>> 11)) + output;
  return output;
}

/** @param {Generator} generator @returns {number} in [0, 1), of 53 bits. */
export function uniform(generator) {
  const low = word(generator);
  return (word(generator) * 2 ** 21 + (low >>> 11)) * 2 ** -53;
}

/**
 * @param {Generator} generator
 * @param {number} n above 0.
 * @returns {number} 0 .. n - 1.
 */
export function below(generator, n) {
  return Math.floor(uniform(generator) * n);
}

/**
 * @param {Generator} generator
 * @param {number} count
 * @returns {Float64Array} independent standard normals.
 */
export function normals(generator, count) {
  const words = Uint32Array.from({ length: wordsFor(count) }, () => word(generator));
  return normalsV1(words, count);
}
