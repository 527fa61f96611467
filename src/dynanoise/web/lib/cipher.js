/**
 * The keyed functions of keyed noise: HMAC-SHA256 and ChaCha20 of the vendored library, and SipHash,
 * which has no small library.
 */

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

/** 64 bits. */
const MASK = (1n << 64n) - 1n;

/** @param {bigint} word @param {bigint} bits */
const turned = (word, bits) => ((word << bits) | (word >> (64n - bits))) & MASK;

/** SipRound, `count` times, in place. @param {bigint[]} v */
function rounds(v, count) {
  for (let i = 0; i < count; i++) {
    v[0] = (v[0] + v[1]) & MASK;
    v[2] = (v[2] + v[3]) & MASK;
    v[1] = turned(v[1], 13n) ^ v[0];
    v[3] = turned(v[3], 16n) ^ v[2];
    v[0] = turned(v[0], 32n);
    v[2] = (v[2] + v[1]) & MASK;
    v[0] = (v[0] + v[3]) & MASK;
    v[1] = turned(v[1], 17n) ^ v[2];
    v[3] = turned(v[3], 21n) ^ v[0];
    v[2] = turned(v[2], 32n);
  }
}

/**
 * SipHash-2-4 with 128 bits of output (Aumasson & Bernstein 2012), a keyed hash.
 * @param {Uint8Array} message
 * @param {Uint8Array} key 16 bytes.
 * @returns {Uint8Array} 16 bytes.
 */
export function siphash128(message, key) {
  const padded = new Uint8Array((message.length >> 3) * 8 + 8);
  padded.set(message);
  padded[padded.length - 1] = message.length % 256;
  const words = new DataView(padded.buffer);
  const keys = new DataView(key.buffer, key.byteOffset, 16);
  const [k0, k1] = [keys.getBigUint64(0, true), keys.getBigUint64(8, true)];
  const v = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn ^ 0xeen,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  for (let start = 0; start < padded.length; start += 8) {
    const word = words.getBigUint64(start, true);
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
  }
  const digest = new DataView(new ArrayBuffer(16));
  v[2] ^= 0xeen;
  rounds(v, 4);
  digest.setBigUint64(0, v[0] ^ v[1] ^ v[2] ^ v[3], true);
  v[1] ^= 0xddn;
  rounds(v, 4);
  digest.setBigUint64(8, v[0] ^ v[1] ^ v[2] ^ v[3], true);
  return new Uint8Array(digest.buffer);
}
