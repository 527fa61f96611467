/** Section 5: of two records one was trained on; the visitor and LiRA choose. */

import { methodTitle } from "./data.js";
import { byId, el, percent, segments, svg } from "./dom.js";
import { server } from "./game.js";
import { undo } from "./lib/dynanoise.js";
import { logProbabilities, softmax } from "./lib/numerics.js";
import { anew, below } from "./lib/random.js";
import { gameOf } from "./method.js";
import { number } from "./source.js";

const METHODS = ["none", "dynanoise", "dynanoise_keyed"];
const HEIGHT = 150, TOP = 18, BOTTOM = 22;

export function start(data) {
  const samples = data.samples;
  if (!samples) {
    byId("game").remove();
    return;
  }
  const setting = gameOf(data), generator = anew();
  const entries = METHODS.map((method) => samples.scores.find((entry) => entry.method === method && entry.repeats === 1)).filter(Boolean);
  let entry = entries[0], score = null, pair = null, chosen = null;
  segments(byId("game-defense"), entries.map(({ method }) => ({ value: method, text: methodTitle(method) })), entry.method, (value) => {
    entry = entries.find(({ method }) => method === value);
    begin();
  });
  const cards = byId("game-cards");
  const next = byId("game-next");
  next.addEventListener("click", () => { deal(); cards.querySelector("button").focus(); });
  new ResizeObserver(() => pair && show()).observe(cards);

  function begin() {
    score = { pairs: 0, yours: 0, attack: 0 };
    deal();
  }

  /** A member and another record, in either order, with the outputs that the attacker sees. */
  function deal() {
    const ranks = samples.ranks[entry.ranks];
    const pick = (member) => {
      const rows = [...ranks.keys()].filter((i) => samples.members[i] === member && !Number.isNaN(ranks[i]));
      return rows[below(generator, rows.length)];
    };
    const rows = below(generator, 2) ? [pick(1), pick(0)] : [pick(0), pick(1)];
    const reply = entry.method === "none" ? null : server(setting, entry.method === "dynanoise" ? "fresh" : "keyed", samples.classes, generator);
    // The attacker knows the temperature and undoes it; what is left is the noise.
    const seen = (row) => (reply ? softmax(undo(logProbabilities(reply(row)), setting.T)) : softmax(row));
    pair = rows.map((row) => ({ row, rank: ranks[row], member: samples.members[row] === 1, output: seen(samples.row(row)) }));
    chosen = null;
    show();
  }

  function choose(place) {
    if (chosen !== null) return;
    chosen = place;
    score.pairs += 1;
    score.yours += pair[place].member ? 1 : 0;
    const [a, b] = pair;
    score.attack += a.rank === b.rank ? 0.5 : (a.rank > b.rank) === a.member ? 1 : 0;
    show();
    next.focus();
  }

  function show() {
    next.hidden = chosen === null;
    const attack = data.titles[samples.attack];
    const better = pair[0].rank === pair[1].rank ? null : pair[0].rank > pair[1].rank ? 0 : 1;
    cards.replaceChildren(...pair.map((item, i) => card(item, i, chosen, better, attack, () => choose(i))));
    pair.forEach((item, i) => bars(cards.children[i].querySelector(".output"), item, samples.labels[item.row]));
    byId("game-score").replaceChildren(...(score.pairs
      ? [el("b", {}, `You ${score.yours} of ${score.pairs}`), `, ${attack} ${score.attack}, guessing ${score.pairs / 2}.`, ...(chosen === null ? [] : [pair[chosen].member ? " Right." : " Wrong."])]
      : ["Which record was this network trained on?"]));
    const cited = data.shown(samples.preset, entry.protocol, entry.method, samples.attack, "auc");
    byId("game-note").replaceChildren(`${attack} has ${cited.run.protocols[0].counts.models - 1} models of its own and queries each record once. Over all such pairs it is right in `, number(cited), ": the AUC. ", entry.method === "none" ? "" : "Outputs are shown with the temperature undone.");
  }
  begin();
}

function card(item, place, chosen, better, attack, choose) {
  const name = "AB"[place];
  const said = [item.member ? "a member" : "not a member", ...(better === place ? [`${attack}’s choice`] : [])];
  return el("figure", { class: "card", "data-row": item.row, "data-member": chosen === null ? null : String(item.member) },
    el("h3", {}, `Record ${name}`), el("div", { class: "output" }),
    chosen === null
      ? el("button", { type: "button", onclick: choose }, `${name} was trained on`)
      : el("p", {}, place === chosen ? el("b", {}, "Your choice") : "The other", `: ${said.join(", ")}`));
}

/** The output as bars, the true class in colour. */
function bars(box, { output }, label) {
  const width = Math.max(120, box.clientWidth), step = width / output.length;
  const y = (p) => HEIGHT - BOTTOM - p * (HEIGHT - BOTTOM - TOP);
  const text = `Probability of the true class, ${label}: ${percent(output[label])}.`;
  const nodes = [...output].flatMap((p, k) => [
    svg("rect", { class: k === label ? "bar-fill accent" : "bar-fill", x: k * step + 2, y: y(p), width: step - 4, height: Math.max(1, y(0) - y(p)), rx: 2 }),
    svg("text", { x: (k + 0.5) * step, y: HEIGHT - 6, "text-anchor": "middle", class: k === label ? "value" : "" }, String(k)),
  ]);
  const middle = Math.min(width - 24, Math.max(24, (label + 0.5) * step));
  nodes.push(svg("text", { x: middle, y: y(output[label]) - 5, "text-anchor": "middle", class: "value" }, percent(output[label])));
  box.replaceChildren(el("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": text }, svg("title", {}, text), ...nodes)));
}
