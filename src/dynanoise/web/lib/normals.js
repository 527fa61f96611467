/** normals_v1, the project's own definition of normals from random words: see docs/keyed.md. */

const STEP = 2 ** -53;

/** @param {number} normals how many. @returns {number} the words that make them. */
export function wordsFor(normals) {
  return 4 * Math.ceil(normals / 2);
}

/**
 * U[i] = ((w[2i] + 2^32 w[2i+1]) >> 11) 2^-53.
 * @param {ArrayLike<number>} words uint32, an even number of them.
 * @returns {Float64Array} in [0, 1).
 */
export function uniforms(words) {
  return Float64Array.from(
    { length: words.length / 2 },
    (_, i) => (words[2 * i + 1] * 2 ** 21 + (words[2 * i] >>> 11)) * STEP,
  );
}

/**
 * By Box and Muller (1958) from pairs of uniforms; an odd count drops the last sine.
 * @param {ArrayLike<number>} words uint32, `wordsFor(count)` of them.
 * @param {number} count
 * @returns {Float64Array}
 */
export function normalsV1(words, count) {
  const shares = uniforms(words);
  const normals = new Float64Array(shares.length);
  for (let i = 0; i < shares.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(shares[i] + STEP));
    const angle = 2 * Math.PI * shares[i + 1];
    normals[i] = radius * Math.cos(angle);
    normals[i + 1] = radius * Math.sin(angle);
  }
  return normals.slice(0, count);
}
