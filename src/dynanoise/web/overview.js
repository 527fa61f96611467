/** Section 1: the live picture of an attack, and what results say of it in four numbers. */

import { at, methodTitle, dataTitle, overheadAt, protocolTitle } from "./data.js";
import { animate, byId, el, fixed, percent, segments, still } from "./dom.js";
import { roc } from "./lib/roc.js";
import { Particles } from "./particles.js";
import { interval, number } from "./source.js";

const FIRST = ["none", "temperature", "static", "dynanoise"];

export function start(data) {
  counters(data);
  const samples = data.samples;
  if (!samples) {
    byId("stage").closest("figure").remove();
    return;
  }
  const plain = samples.scores;
  const names = [...new Set(plain.map((entry) => entry.method))];
  names.sort((a, b) => rank(a) - rank(b));
  const budgets = [...new Set(plain.map((entry) => entry.repeats))].sort((a, b) => a - b);
  const defended = names.includes("dynanoise") ? "dynanoise" : names.at(-1);
  let method = "none", repeats = budgets[0];

  const canvas = byId("stage");
  const particles = new Particles(canvas, samples.members);
  const pick = () =>
    plain.find((entry) => entry.method === method && entry.repeats === repeats) ??
    plain.find((entry) => entry.method === method);

  const queries = segments(byId("stage-queries"), [], "", (value) => { repeats = Number(value); show(); });
  const offer = () =>
    queries.set(
      budgets.map((count) => ({
        value: String(count), text: count === 1 ? "once" : String(count),
        disabled: !plain.some((entry) => entry.method === method && entry.repeats === count),
      })),
      String(repeats),
    );
  segments(
    byId("stage-defense"), names.map((value) => ({ value, text: methodTitle(value) })), method,
    (value) => {
      method = value;
      const offered = plain.filter((entry) => entry.method === value).map((entry) => entry.repeats);
      if (!offered.includes(repeats)) repeats = offered[0];
      offer();
      show();
    },
  );
  offer();

  function show() {
    const entry = pick();
    const scores = samples.ranks[entry.ranks];
    const noisy = method !== "none" && method !== "temperature";
    const view = { members: samples.members, order: Array.from(scores, (v) => (Number.isNaN(v) ? -1 : v)), noise: noisy ? 1.1 / Math.sqrt(entry.repeats) : 0 };
    particles.show(view, still() || particles.view === null);
    particles.draw();
    const there = [...scores.keys()].filter((i) => !Number.isNaN(scores[i]));
    const auc = roc(there.map((i) => scores[i]), there.map((i) => samples.members[i])).auc;
    const right = [...there].sort((a, b) => scores[a] - scores[b]).slice(there.length >> 1);
    const share = right.filter((i) => samples.members[i]).length / right.length;
    const cited = data.find(entry.folder, entry.protocol, method, samples.attack, "auc");
    const before = data.find(entry.folder, entry.protocol, "none", samples.attack, "auc");
    const chosen = data.find(entry.folder, entry.protocol, method, "strongest", "auc");
    byId("stage-verdict").replaceChildren(
      ...verdict(method, entry, cited, before, share),
      ...(chosen ? [" The attack that such an attacker chooses for itself has ", number(chosen), "."] : []),
    );
    const run = cited?.run;
    byId("stage-note").replaceChildren(
      `${there.length.toLocaleString("en")} of the run’s queries, half of them about members, ranked by ${data.titles[samples.attack]} with models of the attacker’s own behind the same defense; AUC of these alone ${fixed(auc)}. `,
      run ? `${dataTitle(run.dataset)}, ${run.protocols[0].counts.models} networks (${run.model}). ` : "",
      "0.5 is guessing, 1 is certainty.",
    );
    canvas.setAttribute("aria-label",
      `${there.length} queries ranked by an attacker, members above a line and non-members below. ${byId("stage-verdict").textContent}`);
  }

  const motion = animate(canvas, (clock, passed) => particles.step(clock, passed));
  const pause = byId("stage-pause");
  pause.addEventListener("click", () => {
    motion.pause(!motion.paused);
    pause.textContent = motion.paused ? "Play" : "Pause";
    // A picture that stands still shows where everything is.
    if (motion.paused) { particles.show(particles.view, true); particles.draw(); }
  });
  pause.hidden = still();
  new ResizeObserver(() => { particles.size(); particles.draw(); }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { particles.colours(); particles.draw(); });
  show();
  byId("overview").dataset.defended = defended;
}

const rank = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);

function verdict(method, entry, cited, before, share) {
  if (!cited) return ["No result has this number."];
  const value = [el("b", {}, "AUC ", number(cited)), ` ${interval(cited) ?? ""}`.trimEnd()];
  if (method === "none") return [...value, `. Undefended, the attack pulls the two groups apart: ${percent(share, 0)} of the right half were trained on.`];
  const asked = entry.repeats === 1 ? "asked once" : `asked ${entry.repeats} times and averaged`;
  // Keyed noise claims nothing about near-duplicates, which are among the results.
  const lacks = cited.run.defenses[method]?.noise === "keyed" ? ", not its key, and asks no near-duplicates" : "";
  return [...value, ` behind ${methodTitle(method)}, ${asked}, by an attacker who knows the defense${lacks}; `, before ? number(before) : "", " without it."];
}

function counters(data) {
  const preset = data.samples ? data.runs.find((run) => run.folder === data.samples.folder).preset : data.runs[0].preset;
  const set = data.sets.get(preset);
  const paper = set.protocols.find(({ protocol }) => !protocol.knows);
  const honest = set.protocols.find(({ protocol }) => protocol.name === "adaptive_16") ?? set.protocols.find(({ protocol }) => protocol.knows);
  const pair = ({ run, protocol }) => ["none", "dynanoise"].map((name) => at(run, protocol, name, "strongest", "asr"));
  const attacks = new Set(data.runs.flatMap((run) => run.protocols.flatMap((entry) => entry.attacks)));
  attacks.delete("strongest");
  const time = data.overhead && overheadAt(data, "dynanoise", `ratio_batch_${data.overhead.batches[0]}`);
  const many = data.overhead && overheadAt(data, "dynanoise", `ratio_batch_${data.overhead.batches.at(-1)}`);
  const count = (value) => el("a", { href: "#results" }, String(value));
  const arrow = (from, to) => [number(from), el("span", { class: "to" }, "→"), number(to)];
  const items = [
    paper && [arrow(...pair(paper)), `attack success on ${dataTitle(preset)}, paper’s attacker, without and with DynaNoise`],
    honest && [arrow(...pair(honest)), `attack success on ${dataTitle(preset)}, ${protocolTitle(honest.protocol).toLowerCase()}, likewise`],
    time && [[number(time, `${fixed(time.cell.value, 2)}×`), el("span", { class: "to" }, " / "), number(many, `${fixed(many.cell.value, 2)}×`)], `time of an output with DynaNoise, relative to one without: alone, and in batches of ${data.overhead.batches.at(-1)}`],
    [[count(attacks.size), el("span", { class: "to" }, " / "), count(data.sets.size)], "attacks, and data sets; every number from committed results"],
  ];
  byId("counters").replaceChildren(
    ...items.filter(Boolean).map(([value, about]) => el("div", {}, el("dt", {}, about), el("dd", {}, ...value))),
  );
}
