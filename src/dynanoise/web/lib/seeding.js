/** Seeds derived from one number and a path of names, as dynanoise/core/seeding.py has them. */

import { lengthPrefixed, utf8 } from "./bytes.js";
import { require, shown } from "./errors.js";
import { sha256 } from "./sha256.js";

/**
 * The first 8 bytes of SHA-256 over the length-prefixed seed and path.
 * @param {number} seed an integer of 0 or more.
 * @param {...(string | number)} path what the stream is for.
 * @returns {bigint} of 64 bits.
 */
export function derive(seed, ...path) {
  require(Number.isSafeInteger(seed) && seed >= 0, `The seed is ${shown(seed)}.`, "Use an integer of 0 or more.");
  const parts = [seed, ...path].map((part) => `${typeof part === "number" ? "int" : "str"}:${part}`);
  return new DataView(sha256(lengthPrefixed(...parts.map(utf8))).buffer).getBigUint64(0);
}
