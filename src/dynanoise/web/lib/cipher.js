/** HMAC-SHA256 and ChaCha20 of the vendored library, in the form that keyed noise needs. */

import { chacha20, hmac as hash, sha256 } from "../vendor/noble.js";
import { littleWords } from "./bytes.js";

/**
 * HMAC-SHA256 (RFC 2104).
 * @param {Uint8Array} key
 * @param {Uint8Array} message
 * @returns {Uint8Array} 32 bytes.
 */
export function hmac(key, message) {
  return hash(sha256, key, message);
}

/**
 * The first words of a key's ChaCha20 stream (RFC 8439), with the counter from 0.
 * @param {Uint8Array} key 32 bytes.
 * @param {number} nonce uint32, the first of the nonce's three words; the others are 0.
 * @param {number} count number of words.
 * @returns {Uint32Array}
 */
export function stream(key, nonce, count) {
  const bytes = new Uint8Array(12);
  new DataView(bytes.buffer).setUint32(0, nonce, true);
  return littleWords(chacha20(key, bytes, new Uint8Array(4 * count)));
}
