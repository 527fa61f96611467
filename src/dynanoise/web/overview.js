/** Section 1: the live picture of an attack, and what results say of it in four numbers. */

import { methodTitle, dataTitle, overheadAt } from "./data.js";
import { entry as legendEntry } from "./chart.js";
import { animate, byId, el, fixed, segments, still, svg } from "./dom.js";
import { Particles, called } from "./particles.js";
import { number } from "./source.js";

const ORDER = ["none", "dynanoise", "dynanoise_keyed", "temperature", "static"];
const SHOWN = 3; // defenses before "more"

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
        value: String(count), text: String(count),
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
    SHOWN,
  );
  offer();
  byId("stage-legend").append(...[
    ["dot accent", "member, found"], ["ring accent", "member, missed"],
    ["dot ink", "other, accused"], ["ring", "other, cleared"],
  ].map(([style, name]) => legendEntry({ name, mark: svg("circle", { cx: 13, cy: 6, r: 5, class: style }) })));

  function show() {
    const entry = pick();
    const scores = samples.ranks[entry.ranks];
    const order = Array.from(scores, (v) => (Number.isNaN(v) ? -1 : v));
    const found = called(order);
    const noisy = method !== "none" && method !== "temperature";
    const view = { members: samples.members, order, called: found, noise: noisy ? 1.1 / Math.sqrt(entry.repeats) : 0 };
    particles.show(view, still() || particles.view === null);
    particles.draw();
    const cited = (name, attack) => data.shown(data.samples.preset, entry.protocol, name, attack, "asr");
    const run = cited(method, samples.attack)?.run;
    const count = (member, says) => order.filter((place, i) => place >= 0 && (samples.members[i] === 1) === member && (!says || found[i])).length;
    const attack = data.titles[samples.attack];
    byId("stage-verdict").replaceChildren(
      el("b", {}, `${attack} finds ${count(true, true)} of ${count(true)} members`),
      `, accuses ${count(false, true)} of ${count(false)} others: success `, number(cited(method, samples.attack)),
      ...(method === "none" ? ["."] : [" (", number(cited("none", samples.attack)), " undefended)."]),
    );
    // Keyed noise claims nothing about near-duplicates, which are among the results.
    const lacks = run?.defenses[method]?.noise === "keyed" ? ", not its key, and sends no near-duplicates" : "";
    const asks = entry.repeats === 1 ? "queries each record once" : `repeats each query ${entry.repeats} times`;
    byId("stage-note").replaceChildren(
      `Each dot is a record and a network (${dataTitle(run.dataset)}), likelier members to the right. Half are members, so the attacker accuses the right half. Success is balanced accuracy on all records. The attacker ${method === "none" ? "" : `knows the defense${lacks}, `}has ${run.protocols[0].counts.models - 1} models of its own and ${asks}; the strongest of its attacks has success `,
      number(cited(method, "strongest")), ".",
    );
    canvas.setAttribute("aria-label",
      `Queries ranked by an attacker, members above a line and others below. ${byId("stage-verdict").textContent}`);
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
}

const rank = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

function counters(data) {
  const pair = (methods, ...rest) => methods.map((name) => data.shown("cifar10", "adaptive_16", name, ...rest));
  const [undefended] = pair(["none"], "strongest", "asr");
  const times = data.overhead ? [data.overhead.batches[0], data.overhead.batches.at(-1)].map((batch) => overheadAt(data, "dynanoise", `ratio_batch_${batch}`)) : [];
  const attacks = new Set(data.runs.flatMap((run) => run.protocols.flatMap((entry) => entry.attacks)));
  attacks.delete("strongest");
  const arrow = ([from, to]) => [number(from), el("span", { class: "to" }, "→"), number(to)];
  const items = [
    [arrow(pair(["none", "dynanoise_keyed"], "strongest", "asr")), `attack success without and with keyed noise, by an attacker who knows the defense, not its key, repeats queries ${undefended?.protocol.repeats} times, and does not choose inputs (CIFAR-10)`],
    [arrow(pair(["none", "dynanoise"], null, "accuracy")), "test accuracy, without and with fresh noise; keyed noise keeps every label"],
    times.length && [[number(times[0], `${fixed(times[0].cell.value, 2)}×`), el("span", { class: "to" }, " / "), number(times[1], `${fixed(times[1].cell.value, 2)}×`)], `time of an output, relative to undefended: alone, in batches of ${data.overhead.batches.at(-1)}`],
    [[el("a", { href: "#results" }, String(attacks.size)), el("span", { class: "to" }, " / "), el("a", { href: "#results" }, String(data.sets.size))], "attacks and data sets; each number links to its result"],
  ];
  byId("counters").replaceChildren(
    ...items.filter(Boolean).map(([value, about]) => el("div", {}, el("dt", {}, about), el("dd", {}, ...value))),
  );
}
