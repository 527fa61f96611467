/** Section 4, below: the attack's ROC as a function of how often it may ask, computed in the page. */

import { chart } from "./chart.js";
import { methodTitle } from "./data.js";
import { byId, el, fixed, percent, segments, slider } from "./dom.js";
import { server, shifts } from "./game.js";
import { scaledLogit } from "./lib/attacks.js";
import { add, beginning, recovered } from "./lib/average.js";
import { sigma, undo } from "./lib/dynanoise.js";
import { argmax, logProbabilities, logSoftmax } from "./lib/numerics.js";
import { normals, seeded } from "./lib/random.js";
import { roc } from "./lib/roc.js";
import { gameOf, settingOf } from "./method.js";

const BUDGETS = [1, 4, 16, 64, 256];
const NEAR = { rows: 200, most: 16 };
const STYLES = { none: "ink thin", static: "dashed", dynanoise: "accent", dynanoise_keyed: "accent dashed", dynanoise_tuned: "ink dotted" };

export function start(data) {
  const samples = data.samples;
  if (!samples) return;
  const stored = fromResults(data);
  const made = computed(data);
  const kinds = { stored, made };
  let kind = stored.budgets.length > 1 ? "stored" : "made", place = 0;
  segments(byId("roc-attack"), [
    ...(stored.budgets.length ? [{ value: "stored", text: `${data.titles[samples.attack]}, stored scores` }] : []),
    { value: "made", text: "Confidence in the label, computed here" },
  ], kind, (value) => { kind = value; show(); });
  const ask = slider({
    label: "Times each query is asked", min: 0, max: BUDGETS.length - 1, step: 1, value: 0, id: "roc-queries",
    show: (v) => (v ? String(BUDGETS[v]) : "once"),
  }, (value) => { place = value; show(); });
  byId("roc-budget").append(...ask.parts);

  const unit = [0, 0.2, 0.4, 0.6, 0.8, 1];
  const curves = chart(byId("roc-chart"), {
    x: { label: "share of non-members accused", domain: [0, 1], ticks: unit },
    y: { label: "share of members found", domain: [0, 1], ticks: unit },
    square: true,
  });
  const strength = chart(byId("roc-budgets"), {
    x: { label: "queries", domain: [1, 256], log: true, ticks: BUDGETS, text: (v) => String(Math.round(v)) },
    y: { label: "AUC", domain: [0.5, 1], ticks: [0.5, 0.6, 0.7, 0.8, 0.9, 1], text: (v) => v.toFixed(3), mark: (v) => v.toFixed(1) },
    square: true,
  });

  function show() {
    const source = kinds[kind], budget = BUDGETS[place];
    const shown = source.rows.map((entry) => ({ ...entry, curve: entry.at(budget) })).filter((entry) => entry.curve);
    curves.draw(
      [
        ...shown.map((entry) => ({ name: entry.name, style: entry.style, points: line(entry.curve) })),
        { name: "guessing", style: "thin dotted", hide: true, points: [[0, 0], [1, 1]] },
      ],
      `ROC with ${budget} ${budget === 1 ? "query" : "queries"}: ${shown.map((entry) => `${entry.name} has AUC ${fixed(entry.curve.auc)}`).join(", ")}.`,
    );
    strength.draw(
      source.rows.map((entry) => ({
        name: entry.name, style: entry.style, dots: true,
        points: BUDGETS.map((q) => [q, entry.at(q)?.auc ?? NaN]).filter(([, v]) => Number.isFinite(v)),
      })),
      `AUC by query budget. ${source.rows.map((entry) => entry.name).join(", ")}.`,
    );
    const parts = shown.map((entry, i) => [i ? ", " : "", el("b", { "data-auc": entry.key }, fixed(entry.curve.auc)), ` ${entry.name}`]).flat();
    byId("roc-verdict").replaceChildren(`AUC with ${budget === 1 ? "one query" : `${budget} queries`} each: `, ...parts, ".");
    byId("roc-note").textContent = source.note;
  }

  // Near-duplicates of every row are many answers: made while the browser has nothing else to do.
  new IntersectionObserver(([seen], observer) => {
    if (!seen.isIntersecting) return;
    observer.disconnect();
    made.work(() => { if (kind === "made") show(); });
  }).observe(byId("roc-chart"));
  show();
}

function line(curve) {
  const step = Math.max(1, Math.floor(curve.fpr.length / 400));
  const kept = [...curve.fpr.keys()].filter((i) => i % step === 0 || i === curve.fpr.length - 1);
  return kept.map((i) => [curve.fpr[i], curve.tpr[i]]);
}

function fromResults(data) {
  const samples = data.samples;
  const plain = samples.scores.filter((entry) => BUDGETS.includes(entry.repeats) && entry.method in STYLES);
  const curves = new Map();
  const at = (method) => (budget) => {
    const entry = plain.find((each) => each.method === method && each.repeats === budget);
    if (!entry) return null;
    if (!curves.has(entry.ranks)) {
      const scores = samples.ranks[entry.ranks];
      const there = [...scores.keys()].filter((i) => !Number.isNaN(scores[i]));
      curves.set(entry.ranks, roc(there.map((i) => scores[i]), there.map((i) => samples.members[i])));
    }
    return curves.get(entry.ranks);
  };
  const names = [...new Set(plain.map((entry) => entry.method))];
  return {
    budgets: [...new Set(plain.map((entry) => entry.repeats))],
    rows: names.map((name) => ({ key: name, name: methodTitle(name), style: STYLES[name], at: at(name) })),
    note: `Scores of ${data.titles[samples.attack]} for ${samples.rows.toLocaleString("en")} pairs of record and network, kept by ${data.runs.find((run) => run.folder === samples.folder).command}. The attacker knows the defense, trained other networks behind it, repeats the same query as often as it may and averages; near-duplicates, and stronger attacks, are among the results. The curves are made from these scores in the page.`,
  };
}

/** One threshold on the scaled logit of the true class, of what is recovered of the logits. */
function computed(data) {
  const samples = data.samples, { base, lambda, temperature } = settingOf(data);
  const setting = gameOf(data);
  const parameters = { baseVariance: base, lambdaScale: lambda, temperature };
  const score = (logProbs, i) => scaledLogit(logProbs, samples.labels[i]);
  const all = Array.from({ length: samples.rows }, (_, i) => i);
  const members = all.map((i) => samples.members[i]);
  const once = (make) => { let value = null; return () => (value ??= make()); };
  const clean = once(() => roc(all.map((i) => score(logSoftmax(samples.row(i)), i)), members));
  const noise = once(() => normals(seeded("budget"), samples.rows * samples.classes));
  const fresh = new Map();
  const averaged = (budget) => {
    if (!fresh.has(budget)) {
      // The mean of Q answers, undone, is z + sigma n / sqrt(Q): one draw stands for all of them.
      const scores = all.map((i) => {
        const row = samples.row(i), size = sigma(row, parameters) / Math.sqrt(budget);
        return score(logSoftmax(row.map((v, k) => v + size * noise()[i * samples.classes + k])), i);
      });
      fresh.set(budget, roc(scores, members));
    }
    return fresh.get(budget);
  };
  const slow = { keyed: null, kept: null, near: new Map() };
  const rows = [
    { key: "none", name: "No defense", style: STYLES.none, at: clean },
    { key: "fresh", name: "Fresh noise", style: "accent", at: averaged },
    { key: "keyed", name: "Keyed noise", style: "dashed", at: () => slow.keyed },
    { key: "near", name: "Keyed, near-duplicates", style: "dotted", at: (budget) => slow.near.get(budget) ?? null },
  ];

  async function work(changed) {
    const reply = server(setting, "keyed", samples.classes, null);
    const scores = [];
    let kept = 0;
    await eachSlice(all, (i) => {
      const answer = reply(samples.row(i));
      kept += argmax(answer) === argmax(samples.row(i)) ? 1 : 0;
      scores.push(score(logSoftmax(undo(logProbabilities(answer), temperature)), i));
    });
    slow.keyed = roc(scores, members);
    slow.kept = kept / samples.rows;
    changed();
    const some = all.filter((i) => i % Math.ceil(samples.rows / NEAR.rows) === 0);
    const moves = shifts("near", setting, samples.classes, seeded("near"));
    const estimates = new Map(some.map((i) => [i, beginning(samples.classes)]));
    for (let count = 1; count <= NEAR.most; count++) {
      await eachSlice(some, (i) => {
        const shift = moves.next().value;
        estimates.set(i, add(estimates.get(i), reply(samples.row(i).map((v, k) => v + shift[k])), temperature));
      });
      if (!BUDGETS.includes(count)) continue;
      slow.near.set(count, roc(some.map((i) => score(recovered(estimates.get(i)), i)), some.map((i) => samples.members[i])));
      changed();
    }
    byId("attacker").dataset.worked = "";
  }
  const about = `A weaker attack, made here from the logits: one threshold for all records on the log-odds of the true label. Defense: DynaNoise with s₀ = ${base}, λ = ${lambda}, T = ${temperature}; cells of ${setting.width} logits${setting.keepLabel ? ", labels kept" : ""}; near-duplicates move logits by 2 (isotropic, a model of them; ${NEAR.rows} rows). The key is in this page, so it is no secret.`;
  const cost = () => (slow.kept === null ? "" : ` What it costs: keyed outputs change the label of ${percent(1 - slow.kept)} of these queries, one fresh output that of ${percent(flipped())}.`);
  const flipped = once(() => all.filter((i) => {
    const row = samples.row(i), size = sigma(row, parameters);
    return argmax(row.map((v, k) => v + size * noise()[i * samples.classes + k])) !== argmax(row);
  }).length / samples.rows);
  return {
    rows, work,
    get note() { return about + cost(); },
  };
}

/** Calls for each item, and lets the page breathe every 10 ms. */
async function eachSlice(items, call) {
  let began = performance.now();
  for (const item of items) {
    call(item);
    if (performance.now() - began > 10) {
      await new Promise((done) => setTimeout(done, 6));
      began = performance.now();
    }
  }
}
