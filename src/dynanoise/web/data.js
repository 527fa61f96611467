/** data.json as objects: runs by data set, cells of results, sampled rows. */

/**
 * @typedef {{ value: number, low: number | null, high: number | null }} Cell
 * @typedef {{ run: object, protocol: object, method: string, attack: string | null, metric: string, cell: Cell, title?: string }} Cited
 */

const CONTENDERS = {
  none: "No defense", temperature: "Temperature only", static: "Static noise", dynanoise: "DynaNoise",
  dynanoise_keyed: "DynaNoise, keyed", dynanoise_tuned: "DynaNoise, tuned", cells: "Cells, no noise",
  calibrated_label: "Calibrated label", advreg: "AdvReg", memguard: "MemGuard", relaxloss: "RelaxLoss",
  selena: "SELENA", hamp: "HAMP", dpsgd: "DP-SGD", out_of_fold: "Out-of-fold",
};
const DATA = {
  cifar10: "CIFAR-10", cifar10_paper: "CIFAR-10, 50,000 images", imagenet10: "ImageNet-10", sst2: "SST-2", sst2_text: "SST-2, word vectors", digits: "Digits", breast_cancer: "Breast cancer",
};
const METRICS = {
  asr: "attack success (balanced accuracy)", auc: "AUC", "tpr@0.001": "members found at 0.1% false alarms",
  "tpr@0.01": "members found at 1% false alarms", accuracy: "test accuracy",
  midput: "MIDPUT", midput_worst_case: "MIDPUT of the worst case",
};

const words = (name) => name.replaceAll("_", " ");
export const methodTitle = (name) => CONTENDERS[name] ?? words(name);
export const dataTitle = (name) => DATA[name] ?? words(name);
export const metricTitle = (name) => METRICS[name] ?? words(name);

/** Such as "adaptive, 16 queries". */
export function protocolTitle(protocol) {
  if (!protocol.knows) return "Paper’s attacker";
  const extra = words(protocol.name).replace(/^adaptive ?/, "").replace(/\b\d+\b/, "").trim();
  const count = protocol.repeats === 1 ? "1 query" : `${protocol.repeats} queries`;
  // Near-duplicates are queries, too: one query of each is more than one query.
  const asks = protocol.augmented ? `${count} of each` : count;
  const about = {
    near: "near-duplicates", chosen: "inputs of its choice", key: "with the key", disjoint: "models of other records",
    architecture: "models of another architecture", recipe: "models trained otherwise",
  }[extra] ?? extra;
  return `Adaptive, ${about ? `${about}, ` : ""}${asks}`;
}

/** Fetches and decodes; `body` is for tests. */
export async function load() {
  const answer = await fetch("data.json");
  if (!answer.ok) throw new Error(`data.json: ${answer.status}`);
  return decode(await answer.json());
}

export function decode(body) {
  const sets = new Map();
  for (const run of body.runs) {
    const set = sets.get(run.set) ?? { name: run.set, preset: run.preset, protocols: [] };
    sets.set(run.set, set);
    run.versions = body.versions[run.versions];
    for (const [name, place] of Object.entries(run.defenses)) run.defenses[name] = body.defenses[place];
    for (const protocol of run.protocols) {
      protocol.attacker = body.attackers[protocol.attacker];
      protocol.attacks = body.attacks[protocol.attacks];
      protocol.who = `${protocol.attacker} ${protocol.intervals}`;
      for (const [name, place] of Object.entries(protocol.rows)) protocol.rows[name] = { run, protocol, ...row(body, protocol, body.rows[place]) };
      set.protocols.push(protocol);
    }
  }
  for (const set of sets.values()) set.protocols = joined(set.protocols);
  const model = { ...body, sets, samples: body.samples && sampled(body.samples) };
  return Object.assign(model, {
    /** @returns {Cited | null} a number of one run */
    find(folder, protocolName, ...rest) {
      const run = body.runs.find((entry) => entry.folder === folder);
      const protocol = run?.protocols.find((entry) => entry.name === protocolName);
      return protocol ? at(protocol, ...rest) : null;
    },
    /** @returns {Cited | null} a number of a data set, of whichever run it is shown from */
    shown(set, protocolName, ...rest) {
      const protocol = sets.get(set)?.protocols.find((entry) => entry.name === protocolName);
      return protocol ? at(protocol, ...rest) : null;
    },
  });
}

/** One entry a protocol, with the rows of all runs that have it; the run with most rows describes it. */
function joined(protocols) {
  const byName = new Map();
  for (const protocol of [...protocols].sort((a, b) => size(b) - size(a))) {
    const first = byName.get(protocol.name) ?? { ...protocol, rows: {} };
    Object.assign(first.rows, protocol.rows);
    byName.set(protocol.name, first);
  }
  const order = (p) => (p.knows ? 1e6 : 0) + (p.name.match(/^adaptive(_\d+)?$/) ? 0 : 1e5) + p.repeats;
  return [...byName.values()].sort((a, b) => order(a) - order(b));
}

const size = ({ rows }) => Object.keys(rows).length;

/**
 * A number of a result; attack "strongest" with "asr" is the strongest attack's success.
 * @returns {Cited | null}
 */
export function at(protocol, method, attack, metric) {
  const row = own(protocol.rows, method);
  if (!row) return null;
  const cited = { run: row.run, protocol: row.protocol, method, attack, metric };
  if (attack === "strongest" && metric === "asr") return { ...cited, cell: row.most, title: row.strongest };
  const value = own(attack ? own(row.attacks, attack) : row.utility, metric);
  return value ? { ...cited, cell: value } : null;
}

/** Names come from addresses: inherited properties are not numbers. */
const own = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : null);

/** A number of `data.overhead`, in the same shape. */
export function overheadAt(data, method, metric) {
  const values = own(own(data.overhead?.rows, method), metric);
  if (!values) return null;
  const [value, low = null, high = null] = values;
  return { run: data.overhead, protocol: { name: "overhead", who: "Time and memory of an output, without an attack." }, method, attack: null, metric, cell: { value, low, high } };
}

/** A row of results: its strongest attack, and cells in the order of `_protocol` in data.py. */
function row(body, protocol, [strongest, text]) {
  const cells = text.split(",").map(cell);
  const take = (names) => Object.fromEntries(names.map((name) => [name, cells.shift()]));
  return {
    strongest,
    most: cells.shift(),
    utility: take(body.utility),
    attacks: Object.fromEntries(protocol.attacks.map((attack) => [attack, take(body.attack)])),
  };
}

/** "788 7 8" is 0.788 [0.781, 0.796]. */
function cell(text) {
  if (!text) return null;
  const [value, below = NaN, above = NaN] = text.split(" ").map(Number);
  const end = (number) => (Number.isNaN(number) ? null : number / 1000);
  return { value: value / 1000, low: end(value - below), high: end(value + above) };
}

function sampled(samples) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const whole = new DataView(bytes(samples.logits));
  const count = samples.rows, classes = samples.classes;
  const logits = Float64Array.from({ length: count * classes }, (_, i) => whole.getInt16(2 * i, true) * samples.step);
  return {
    ...samples,
    logits,
    row: (i) => logits.subarray(i * classes, (i + 1) * classes),
    members: Uint8Array.from(samples.members, Number),
    ranks: samples.ranks.map((text) => {
      const view = new DataView(bytes(text));
      return Float64Array.from({ length: count }, (_, i) => {
        const rank = view.getUint16(2 * i, true);
        return rank === 65535 ? NaN : rank;
      });
    }),
  };
}
