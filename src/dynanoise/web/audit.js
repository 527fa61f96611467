/** Section 6: the loss attack on a visitor's file, which is read here and sent nowhere. */

import { chart } from "./chart.js";
import { byId, digits, el, fixed, percent } from "./dom.js";
import { auditLoss, headline } from "./lib/attacks.js";
import { InputError } from "./lib/errors.js";
import { softmax } from "./lib/numerics.js";
import { checkOutputs, readOutputs } from "./lib/outputs.js";
import { table } from "./table.js";

const LARGEST = 200 * 2 ** 20;

export function start(data) {
  const drop = byId("drop"), file = byId("file");
  file.addEventListener("change", () => { if (file.files[0]) take(file.files[0]); });
  // The same file, mended, is a change only after it was forgotten.
  file.addEventListener("click", () => { file.value = ""; });
  // A file that misses the box would replace the page.
  for (const kind of ["dragover", "drop"]) {
    addEventListener(kind, (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
  }
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    const [first] = event.dataTransfer.files;
    if (first) take(first);
  });
  const example = byId("audit-example");
  if (data.samples) example.addEventListener("click", () => attempt(() => sample(data.samples)));
  else example.remove();

  function take(chosen) {
    attempt(async () => {
      if (chosen.size > LARGEST) throw new InputError(`${chosen.name} has ${digits(chosen.size / 2 ** 20)} MiB.`, "Audit so large a file with `dynanoise audit`.");
      return readOutputs(chosen.name, await chosen.arrayBuffer());
    });
  }
}

let attempts = 0;

/** Reads and shows; a problem of the file becomes a sentence. Of several attempts the last one counts. */
async function attempt(read) {
  const number = (attempts += 1);
  const wrong = byId("audit-wrong"), out = byId("audit-out");
  wrong.textContent = "";
  out.replaceChildren(el("p", {}, "Reading and attacking…"));
  await new Promise((resolve) => setTimeout(resolve, 30));
  try {
    const outputs = await read();
    if (number === attempts) show(out, outputs);
  } catch (error) {
    if (number !== attempts) return;
    out.replaceChildren();
    wrong.textContent = error instanceof InputError ? error.message : `This file could not be audited (${error.message}).`;
  }
}

function sample(samples) {
  const probs = new Float64Array(samples.logits.length);
  for (let i = 0; i < samples.rows; i++) probs.set(softmax(samples.row(i)), i * samples.classes);
  return checkOutputs("the page’s sample", {
    records: samples.rows, classes: samples.classes, probs,
    label: Float64Array.from(samples.labels), member: Float64Array.from(samples.members),
  });
}

function show(out, outputs) {
  const audit = auditLoss(outputs);
  const { auc, tprAt, roc, inverted } = audit;
  const interval = `[${fixed(auc.low)}, ${fixed(auc.high)}]`;
  const rate = (value) => (value === null ? { node: el("span", { class: "absent" }, "too few"), value: null } : { node: percent(value, 2), value });
  const cells = [{ node: fixed(auc.value), value: auc.value, small: [interval] }, rate(tprAt["0.01"]), rate(tprAt["0.001"])];
  const scored = roc.members + roc.nonMembers;
  const place = el("div");
  out.replaceChildren(
    el("h3", {}, `${outputs.name}: ${outputs.records.toLocaleString("en")} records, ${outputs.classes} classes`),
    el("p", { class: "verdict" },
      el("b", {}, headline(audit)),
      " by the loss attack, which calls a record a member if the probability of its true class is high. Its attacker sees all probabilities, one query a record, and has no shadow models. Stronger attacks may find more: run ", el("code", {}, "dynanoise audit FILE"), ".",
      inverted ? " An AUC so far below 0.5 does not measure a leak: if member is 1 for the records outside of the training data, exchange 0 and 1; otherwise draw members and non-members alike." : ""),
    el("div", { class: "pair audit" },
      el("figure", {}, el("h3", {}, "ROC of the loss attack"), place),
      el("figure", {}, el("h3", {}, "Success"), table(`The loss attack on ${scored.toLocaleString("en")} records of known membership; small: the 95% interval over records. “Too few”: non-members to resolve the rate.`,
        [{ title: "AUC" }, { title: "TPR at 1% FPR" }, { title: "TPR at 0.1% FPR" }], [{ name: "Loss", key: "loss", ours: true, cells }], "Attack"))),
    el("p", { class: "fine" }, "The command reads npz and parquet, too; it tunes thresholds on records of known membership, attacks several models with each other, and measures defenses. Not covered here or there: white-box access, observation of the training, extraction, earlier versions."),
  );
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1];
  chart(place, {
    x: { label: "share of non-members accused", domain: [0, 1], ticks },
    y: { label: "share of members found", domain: [0, 1], ticks },
    square: true,
  }).draw(
    [{ name: "Loss", style: "accent", points: [...roc.fpr.keys()].map((k) => [roc.fpr[k], roc.tpr[k]]) },
      { name: "guessing", style: "thin dotted", hide: true, points: [[0, 0], [1, 1]] }],
    `ROC curve of the loss attack: AUC ${fixed(auc.value)}.`,
  );
}
