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
  cifar10: "CIFAR-10", imagenet10: "ImageNet-10", sst2: "SST-2", digits: "Digits", breast_cancer: "Breast cancer",
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
    for (const protocol of run.protocols) {
      protocol.attacker = body.attackers[protocol.attacker];
      protocol.who = `${protocol.attacker} ${protocol.intervals}`;
      for (const [name, place] of Object.entries(protocol.rows)) {
        const [strongest, utility, attacks] = body.rows[place];
        protocol.rows[name] = {
          strongest: strongest[0],
          most: cell(strongest[1]),
          utility: named(body.utility, utility),
          attacks: Object.fromEntries(protocol.attacks.map((attack, i) => [attack, named(body.attack, attacks[i])])),
        };
      }
    }
    const set = sets.get(run.preset) ?? { name: run.preset, runs: [], protocols: [] };
    set.runs.push(run);
    for (const protocol of run.protocols) {
      const present = set.protocols.find((entry) => entry.protocol.name === protocol.name);
      // Two runs may share a protocol; the one with more methods is shown.
      if (!present) set.protocols.push({ run, protocol });
      else if (Object.keys(protocol.rows).length > Object.keys(present.protocol.rows).length) Object.assign(present, { run, protocol });
    }
    sets.set(run.preset, set);
  }
  for (const set of sets.values()) {
    const order = ({ protocol: p }) => (p.knows ? 1e6 : 0) + (p.name.match(/^adaptive(_\d+)?$/) ? 0 : 1e5) + p.repeats;
    set.protocols.sort((a, b) => order(a) - order(b));
  }
  const model = { ...body, sets, samples: body.samples && rows(body.samples) };
  return Object.assign(model, {
    /** @returns {Cited | null} */
    find(folder, protocolName, method, attack, metric) {
      const run = body.runs.find((entry) => entry.folder === folder);
      const protocol = run?.protocols.find((entry) => entry.name === protocolName);
      return protocol ? at(run, protocol, method, attack, metric) : null;
    },
  });
}

/**
 * A number of a result; attack "strongest" with "asr" is the strongest attack's success.
 * @returns {Cited | null}
 */
export function at(run, protocol, method, attack, metric) {
  const row = own(protocol.rows, method);
  if (!row) return null;
  const cited = { run, protocol, method, attack, metric };
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

function named(names, cells) {
  return Object.fromEntries(names.map((name, i) => [name, cells[i] === null ? null : cell(cells[i])]));
}

function cell(packed) {
  const [value, low = null, high = null] = [packed].flat().map((number) => number / 1000);
  return { value, low, high };
}

function rows(samples) {
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
