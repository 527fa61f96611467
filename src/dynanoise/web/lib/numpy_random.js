/**
 * numpy's default generator, as far as an audit draws from it: PCG64 (O'Neill 2014), seeded by
 * numpy's SeedSequence. So the page parts the records as `dynanoise audit` does.
 */

const [MASK32, MASK64, MASK128] = [32n, 64n, 128n].map((bits) => (1n << bits) - 1n);
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** @typedef {{ state: bigint, step: bigint, spare: number | null }} Pcg64 changed by every draw. */

/**
 * np.random.default_rng(seed).
 * @param {bigint} seed 0 or more.
 * @returns {Pcg64}
 */
export function defaultRng(seed) {
  const words = seedWords(seed);
  const generator = { state: 0n, step: (((words[2] << 64n) | words[3]) << 1n | 1n) & MASK128, spare: null };
  advance(generator);
  generator.state = (generator.state + ((words[0] << 64n) | words[1])) & MASK128;
  advance(generator);
  return generator;
}

/** @param {Pcg64} generator */
function advance(generator) {
  generator.state = (generator.state * MULTIPLIER + generator.step) & MASK128;
}

/** SeedSequence(seed).generate_state(4, uint64). @param {bigint} seed */
function seedWords(seed) {
  const entropy = [];
  for (let rest = seed; rest > 0n; rest >>= 32n) entropy.push(Number(rest & MASK32));
  if (entropy.length === 0) entropy.push(0);
  const hashed = hasher(0x43b0d7e5, 0x931e8875);
  const pool = Array.from({ length: 4 }, (_, i) => hashed(entropy[i] ?? 0));
  const mix = (x, y) => {
    const mixed = (Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715)) >>> 0;
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hashed(pool[from]));
  }
  for (const extra of entropy.slice(4)) {
    for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hashed(extra));
  }
  const out = hasher(0x8b51f9dd, 0x58f38ded);
  const words = Array.from({ length: 8 }, (_, i) => BigInt(out(pool[i % 4])));
  return [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
}

/** SeedSequence's hash of a word, whose constant moves on with every call. */
function hasher(start, multiplier) {
  let constant = start;
  return (word) => {
    let value = (word ^ constant) >>> 0;
    constant = Math.imul(constant, multiplier) >>> 0;
    value = Math.imul(value, constant) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
}

/** @param {Pcg64} generator @returns {number} uint32; both halves of an output, the lower first. */
function word(generator) {
  if (generator.spare !== null) {
    const spare = generator.spare;
    generator.spare = null;
    return spare;
  }
  advance(generator);
  const { state } = generator;
  const folded = (state >> 64n) ^ (state & MASK64);
  const turn = state >> 122n;
  const made = ((folded >> turn) | (folded << (64n - turn))) & MASK64;
  generator.spare = Number(made >> 32n);
  return Number(made & MASK32);
}

/**
 * An integer as `generator.integers(0, n)` draws it (Lemire 2019).
 * @param {Pcg64} generator
 * @param {number} n 1 .. 2^32 - 1.
 * @returns {number} 0 .. n - 1.
 */
export function below(generator, n) {
  if (n === 1) return 0; // numpy draws nothing for it
  const refused = (2 ** 32 - n) % n;
  for (;;) {
    // word * n of up to 64 bits, in two exact halves.
    const drawn = word(generator);
    const low = (drawn & 0xffff) * n;
    const high = (drawn >>> 16) * n + Math.floor(low / 65536);
    const rest = (high % 65536) * 65536 + (low % 65536);
    if (rest >= refused) return Math.floor(high / 65536);
  }
}

/**
 * `generator.permutation(values)`: Fisher & Yates, by words masked until one fits.
 * @template T
 * @param {Pcg64} generator
 * @param {T[]} values
 * @returns {T[]} a copy.
 */
export function permutation(generator, values) {
  const found = [...values];
  for (let i = found.length - 1; i > 0; i--) {
    const mask = 2 ** (32 - Math.clz32(i)) - 1;
    let j = i + 1;
    while (j > i) j = (word(generator) & mask) >>> 0;
    [found[i], found[j]] = [found[j], found[i]];
  }
  return found;
}
