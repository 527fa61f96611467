/** SipHash-2-4 with 128 bits of output (Aumasson & Bernstein 2012). */

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
 * A keyed hash: who lacks the key cannot tell it from random bits.
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
