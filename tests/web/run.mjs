// Calls functions of src/dynanoise/web/lib for the tests: node run.mjs LIB.
//
// Each line of the input is a list of calls, {"call": "module.function", "args": [...]}, each line of
// the output the list of answers: {"value": ...} or {"refused": ...}. Any error but an InputError ends
// the run, for it is a bug. In arguments an object with one of the keys of REVIVED stands for what
// JSON lacks.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const lib = pathToFileURL(`${process.argv[2]}/`);
const load = (name) => import(new URL(`${name}.js`, lib));

const { InputError } = await load("errors");
const random = await load("random");

const REVIVED = {
  $hex: (digits) => Uint8Array.from(Buffer.from(digits, "hex")),
  $base64: (text) => {
    const bytes = Buffer.from(text, "base64");
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  },
  $f64: (values) => Float64Array.from(values),
  $number: Number,
  $seed: random.seeded,
};

function revived(value) {
  if (Array.isArray(value)) return value.map(revived);
  if (value === null || typeof value !== "object") return value;
  const [[key, inside], ...more] = [...Object.entries(value), ["", null]];
  if (key in REVIVED && more.length === 1) return REVIVED[key](inside);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, revived(one)]));
}

/** Calls that need a state between steps. */
const TESTS = {
  async words(start, count) {
    const generator = Uint32Array.from(start);
    return Array.from({ length: count }, () => random.word(generator));
  },
  async asked(answers, temperature, logits, shifts) {
    const [average, numerics] = [await load("average"), await load("numerics")];
    let estimate = average.beginning(logits.length);
    const errors = answers.map((answer, i) => {
      estimate = average.add(estimate, answer, temperature, shifts ? shifts[i] : null);
      return average.error(estimate, logits);
    });
    return { ...estimate, errors, recovered: numerics.logSoftmax(estimate.mean) };
  },
  async keyed(given, logits, parameters) {
    const lib = await load("keyed");
    const { hex } = await load("bytes");
    const noise = lib.keyed(given);
    const keys = lib.bound(noise, logits.length, parameters);
    const drawn = lib.draw(noise, logits, parameters, keys);
    return {
      key_id: lib.keyId(noise.root),
      subkey: hex(keys.subkey),
      cell_key: hex(keys.cellKey),
      offsets: keys.offsets,
      cell: drawn.cell,
      label: drawn.label,
      row_key: hex(lib.rowKey(keys.cellKey, drawn.cell, drawn.label)),
      normals: drawn.normals,
      probs: lib.keyedAnswer(noise, logits, parameters, keys),
      again: lib.keyedAnswer(noise, logits, parameters),
    };
  },
  async attack(width, sigma, seed, shifts, logits, temperature) {
    // A fresh source where `width` is null; the leading class, 0, is left out of the error.
    const average = await load("average");
    const dynanoise = await load("dynanoise");
    const lib = await load("keyed");
    const generator = random.seeded(seed);
    const parameters = { baseVariance: sigma ** 2, lambdaScale: 0, temperature };
    const noise = width && lib.keyed({ root: "07".repeat(32), model: "m", weights: "ab".repeat(32), cellWidth: width });
    const keys = width && lib.bound(noise, logits.length, parameters);
    const asked = {
      repeat: () => Array.from({ length: shifts.count }, () => new Float64Array(logits.length)),
      jitter: () => Array.from({ length: shifts.count }, () => average.jitter(logits.length, sigma, generator, 0)),
      antithetic: () => average.antithetic(logits.length, shifts.reach, shifts.count / 2, generator, 0),
    }[shifts.kind]();
    let estimate = average.beginning(logits.length);
    for (const shift of asked) {
      const moved = shift.map((value, i) => value + logits[i]);
      const answer = width
        ? lib.keyedAnswer(noise, moved, parameters, keys)
        : dynanoise.answer(moved, parameters, random.normals(generator, logits.length));
      estimate = average.add(estimate, answer, temperature, shift);
    }
    return average.error(estimate, logits, 0);
  },
  async chacha20(key, nonce, counter) {
    const { chacha20 } = await load("../vendor/noble");
    return chacha20(key, nonce, new Uint8Array(64), undefined, counter);
  },
  async sha256(message) {
    const { sha256 } = await load("../vendor/noble");
    return sha256(message);
  },
  async audit(name, buffer) {
    const { readOutputs } = await load("outputs");
    const { auditLoss } = await load("attacks");
    return auditLoss(readOutputs(name, buffer));
  },
  async headline(name, buffer) {
    const { readOutputs } = await load("outputs");
    const { auditLoss, headline } = await load("attacks");
    return headline(auditLoss(readOutputs(name, buffer)));
  },
  async logProbs(name, buffer) {
    const { readOutputs, logProbsOf } = await load("outputs");
    return logProbsOf(readOutputs(name, buffer)).values;
  },
  async normals(seed, count) {
    return random.normals(random.seeded(seed), count);
  },
  async below(seed, n, count) {
    const generator = random.seeded(seed);
    return Array.from({ length: count }, () => random.below(generator, n));
  },
  async shifts(classes, reach, pairs, seed, keep) {
    const average = await load("average");
    return average.antithetic(classes, reach, pairs, random.seeded(seed), keep);
  },
};

async function answered({ call, args }) {
  const [module, name] = call.split(".");
  const found = module === "test" ? TESTS[name] : name.split("/").reduce((at, key) => at[key], await load(module));
  try {
    const value = await found(...revived(args));
    return { value: value === undefined ? null : value };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { refused: { name: error.name, problem: error.problem, remedy: error.remedy, message: error.message } };
  }
}

const written = (key, value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return { $number: String(value) };
  return value;
};

for await (const line of createInterface({ input: process.stdin })) {
  const answers = [];
  for (const call of JSON.parse(line)) answers.push(await answered(call));
  process.stdout.write(`${JSON.stringify(answers, written)}\n`);
}
