/** ChaCha20 (RFC 8439): random words that only the key's holder can predict. */

import { littleWords } from "./bytes.js";

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

/** RFC 8439, section 2.1, in place. */
function quarterRound(s, a, b, c, d) {
  for (const [first, second] of [
    [16, 12],
    [8, 7],
  ]) {
    s[a] += s[b];
    const x = s[d] ^ s[a];
    s[d] = (x << first) | (x >>> (32 - first));
    s[c] += s[d];
    const y = s[b] ^ s[c];
    s[b] = (y << second) | (y >>> (32 - second));
  }
}

/**
 * One block of the key stream (RFC 8439, section 2.3).
 * @param {Uint8Array} key 32 bytes.
 * @param {number} counter uint32.
 * @param {ArrayLike<number>} nonce three words.
 * @returns {Uint32Array} 16 words.
 */
export function block(key, counter, nonce) {
  const start = Uint32Array.from([...CONSTANTS, ...littleWords(key), counter, ...Array.from(nonce)]);
  const state = start.slice();
  for (let i = 0; i < 10; i++) {
    for (let column = 0; column < 4; column++) {
      quarterRound(state, column, column + 4, column + 8, column + 12);
    }
    for (let column = 0; column < 4; column++) {
      const [b, c, d] = [1, 2, 3].map((by) => 4 * by + ((column + by) % 4));
      quarterRound(state, column, b, c, d);
    }
  }
  return state.map((word, i) => word + start[i]);
}

/**
 * The first words of a key's stream, with the counter from 0.
 * @param {Uint8Array} key 32 bytes.
 * @param {number} nonce uint32, the first of the nonce's three words; the others are 0.
 * @param {number} count how many words.
 * @returns {Uint32Array}
 */
export function stream(key, nonce, count) {
  const words = new Uint32Array(Math.ceil(count / 16) * 16);
  for (let i = 0; 16 * i < count; i++) words.set(block(key, i, [nonce, 0, 0]), 16 * i);
  return words.subarray(0, count);
}
