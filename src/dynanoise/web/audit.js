/** Section 6: attacks on a file that a visitor brings; it is read here and goes nowhere. */

import { chart } from "./chart.js";
import { byId, digits, el, fixed, percent } from "./dom.js";

import { InputError } from "./lib/errors.js";
import { givenOf, readFile } from "./lib/given.js";
import { auditSingle, strongest } from "./lib/single_model.js";
import { table } from "./table.js";

const LARGEST = 200 * 2 ** 20;
const STYLES = ["accent", "ink thin", "dashed", "dotted", "dashed ink thin"];

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

  function take(one) {
    attempt(async () => {
      if (one.size > LARGEST) throw new InputError(`${one.name} has ${digits(one.size / 2 ** 20)} MiB.`, "Audit so large a file with `dynanoise audit`.");
      return readFile(one.name, await one.arrayBuffer());
    });
  }
}

let attempts = 0;

/** Reads and shows; what is wrong with the file becomes a sentence. Of several the last one counts. */
async function attempt(read) {
  const own = (attempts += 1);
  const wrong = byId("audit-wrong"), out = byId("audit-out");
  wrong.textContent = "";
  out.replaceChildren(el("p", {}, "Reading and attacking…"));
  await new Promise((done) => setTimeout(done, 30));
  try {
    const given = await read();
    if (own === attempts) show(out, given);
  } catch (error) {
    if (own !== attempts) return;
    out.replaceChildren();
    wrong.textContent = error instanceof InputError ? error.message : `This file could not be audited (${error.message}).`;
  }
}

function sample(samples) {
  return givenOf("the page’s sample", {
    logits: { dtype: "float64", shape: [samples.rows, samples.classes], values: samples.logits },
    labels: { dtype: "int32", shape: [samples.rows], values: Int32Array.from(samples.labels) },
    member: { dtype: "int8", shape: [samples.rows], values: Int8Array.from(samples.members) },
  });
}

function show(out, given) {
  const box = el("div");
  const pick = el("select", { id: "audit-model", onchange: () => draw(box, given, Number(pick.value)) },
    ...Array.from({ length: given.models }, (_, i) => el("option", { value: i }, `model ${i}`)));
  const parts = [el("h3", {}, `${given.name}: ${given.records.toLocaleString("en")} records, ${given.classes} classes`)];
  if (given.models > 1) {
    parts.push(el("p", { class: "fine" }, `The file holds ${given.models} models. Here they are attacked one by one; \`dynanoise audit\` attacks each with the others as shadow models, which finds more.`), el("label", { class: "pick" }, "Attacked", pick));
  }
  out.replaceChildren(...parts, box);
  draw(box, given, 0);
}

function draw(box, given, model) {
  const found = auditSingle(given, { model });
  const best = strongest(found);
  const range = (one, show = fixed) => (Number.isFinite(one.low) ? [`[${show(one.low)}, ${show(one.high)}]`] : []);
  const cell = (one, show = fixed) => (one ? { node: show(one.value), value: one.value, small: range(one, show) } : { node: el("span", { class: "absent" }, "too few"), value: null });
  const rates = (value) => percent(value, 2);
  const rows = found.map((one) => ({
    name: one.title, key: one.attack, ours: one === best,
    cells: [cell(one.auc), cell(one.asr), cell(one.tprAt["0.01"], rates), cell(one.tprAt["0.001"], rates), { node: digits(one.threshold, 4), value: one.threshold }],
  }));
  const places = el("div");
  const leaks = best.auc.low > 0.5;
  box.replaceChildren(
    el("p", { class: "verdict" },
      el("b", {}, leaks ? `This model gives membership away: AUC ${fixed(best.auc.value)} ${range(best.auc)[0] ?? ""}` : `No leak was measured: AUC ${fixed(best.auc.value)} ${range(best.auc)[0] ?? ""}`),
      ` by ${best.title}, chosen on the known half. The attacker sees all probabilities, knows of half of the records whether they are members, and has no models of its own; one who has may find more.`),
    el("div", { class: "pair audit" },
      el("figure", {}, el("h3", {}, "ROC of the scored half"), places),
      el("figure", {}, el("h3", {}, "Attacks"), table(`Attacks on ${best.rows.length.toLocaleString("en")} scored records; small: 95% intervals over records. “Too few”: records to resolve it. In colour the attack that is best on the known half: the best of the scored half would be the luckiest, too.`,
        [{ title: "AUC" }, { title: "balanced accuracy" }, { title: "TPR at 1% FPR" }, { title: "TPR at 0.1% FPR" }, { title: "threshold" }], rows, "Attack"))),
    el("p", { class: "fine" }, "Thresholds are tuned on the known half. Not covered: white-box access, observation of the training, extraction, earlier versions. The same numbers come from ", el("code", {}, "dynanoise audit FILE"), ", with shadow models as well where the file holds several."),
  );
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1];
  chart(places, {
    x: { label: "share of non-members accused", domain: [0, 1], ticks },
    y: { label: "share of members found", domain: [0, 1], ticks },
    square: true,
  }).draw(
    [...found.map((one, i) => ({ name: one.title, style: STYLES[i], points: [...one.roc.fpr.keys()].map((k) => [one.roc.fpr[k], one.roc.tpr[k]]) })),
      { name: "guessing", style: "thin dotted", hide: true, points: [[0, 0], [1, 1]] }],
    `ROC curves. ${found.map((one) => `${one.title}: AUC ${fixed(one.auc.value)}`).join(", ")}.`,
  );
}
