/** Section 3: one row through the three steps, and variance against entropy, DynaNoise beside static noise, with the entropies of real queries. */

import { chart } from "./chart.js";
import { animate, byId, el, fixed, still, svg } from "./dom.js";
import { answer, sensitivity, sigma, variance as varianceOf } from "./lib/dynanoise.js";
import { entropy, logSoftmax, softmax } from "./lib/numerics.js";
import { normals, seeded } from "./lib/random.js";

const CLOUD = 22;
const WORKED = [4, 1, 0]; // logits small enough for a calculator
const MIDDLE = 0.53, REACH = 0.43; // of the sweep

export function start(data) {
  const set = settingOf(data);
  worked(set);
  const real = data.samples ? measured(data.samples) : [];
  const others = real.filter((entry) => !entry.member);
  const meanR = others.length ? others.reduce((sum, entry) => sum + 1 - entry.share, 0) / others.length : 0.5;
  const { base, lambda } = set;
  const variance = (share) => base * (1 + lambda * (1 - share));
  const fixedVariance = base * (1 + lambda * meanR);
  const top = base * (1 + lambda) * 1.15;
  const ticks = [0, base, base * (1 + lambda / 2), base * (1 + lambda)].map((value) => Number(value.toPrecision(3)));
  const picture = chart(byId("variance-chart"), {
    x: { label: "entropy of the clean output, as a share of ln k", domain: [0, 1], ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] },
    y: { label: "variance of the noise", domain: [0, top], ticks },
    height: 340,
  });
  const slide = byId("sweep");
  const cloud = normals(seeded("cloud"), 2 * CLOUD);
  let phase = 0, clock = 0, place = null;
  const moving = [["", () => fixedVariance], ["accent", variance]].map(([style, of]) => ({
    of,
    dots: Array.from({ length: CLOUD }, () => svg("circle", { r: 2, class: `mote ${style}` })),
    point: svg("circle", { r: style ? 8 : 6, class: `dot ${style}` }),
  }));

  picture.draw(
    [
      { name: "DynaNoise", style: "accent", points: [[0, variance(0)], [1, variance(1)]] },
      { name: "Static noise of the same mean", style: "dashed", points: [[0, fixedVariance], [1, fixedVariance]] },
    ],
    `Noise variance falls from ${fixed(variance(0), 2)} for a certain output to ${fixed(base, 2)} for an even one; static noise stays at ${fixed(fixedVariance, 2)}.`,
    (layout) => {
      place = layout;
      // Drawn again with every change of the box, moved with every frame.
      queueMicrotask(draw);
      return [...rug(real, place), ...moving.flatMap((entry) => [...entry.dots, entry.point])];
    },
    real.length ? [["real queries: members", " member"], ["others", ""]].map(([name, style]) => ({
      name, mark: svg("path", { d: "M3 1V11M8 1V11M10 1V11M16 1V11M22 1V11", class: `rug${style}`, "stroke-width": 2 }),
    })) : [],
  );

  function draw() {
    const share = Number(slide.value);
    slide.setAttribute("aria-valuetext", `${share.toFixed(2)} of ln k`);
    const texts = [`R = ${fixed(1 - share, 2)}`, `σ² = ${fixed(variance(share), 3)}`, `σ = ${fixed(Math.sqrt(variance(share)), 2)} logits`];
    byId("sweep-readout").replaceChildren(...texts.map((text) => el("span", {}, text)));
    if (!place) return;
    // Draws of the noise beside its point: as wide as the noise would throw a logit.
    const unit = (place.x(1) - place.x(0)) / 16;
    for (const { of, dots, point } of moving) {
      const centre = place.y(of(share)), width = unit * Math.sqrt(of(share));
      dots.forEach((dot, i) => {
        const turn = Math.cos(clock * (1.1 + 0.07 * i) + i) * cloud[i] + Math.sin(clock * 0.9 + 2 * i) * cloud[i + CLOUD];
        const at = place.x(share) + width * turn * 0.8;
        dot.setAttribute("cx", at);
        dot.setAttribute("visibility", at < place.left + 2 ? "hidden" : "visible");
        dot.setAttribute("cy", centre + ((i % 5) - 2) * 3.2);
      });
      point.setAttribute("cx", place.x(share));
      point.setAttribute("cy", centre);
    }
  }

  let held = false;
  slide.addEventListener("input", () => { held = true; motion.pause(true); label(); draw(); });
  const motion = animate(byId("variance-chart"), (_, passed) => {
    clock += passed;
    phase += passed * 0.35;
    slide.value = String(MIDDLE - REACH * Math.cos(phase));
    draw();
  });
  const button = byId("sweep-pause");
  const label = () => {
    button.textContent = motion.paused ? "Play" : "Pause";
  };
  button.addEventListener("click", () => {
    if (held) phase = Math.acos(Math.min(1, Math.max(-1, (MIDDLE - Number(slide.value)) / REACH)));
    held = false;
    motion.pause(!motion.paused);
    label();
  });
  button.hidden = still();
  const from = real.length ? ` Ticks: entropies of ${real.length.toLocaleString("en")} real queries, members above, others below, whose mean variance the static noise has.` : "";
  byId("variance-note").textContent = `s₀ = ${base}, λ = ${lambda}, as in the results of ${set.folder}. Dots: draws of the noise.${from}`;
  draw();
}

/** The probability of the top class of one row, through the steps, with one draw of the noise. */
function worked({ base, lambda, temperature }) {
  const parameters = { baseVariance: base, lambdaScale: lambda, temperature };
  const draw = normals(seeded("worked"), WORKED.length);
  const R = sensitivity(WORKED), spread = sigma(WORKED, parameters);
  const noisy = WORKED.map((value, k) => value + spread * draw[k]);
  const text = (values) => values.map((value) => fixed(value, 2)).join(", ");
  const [before, after] = [softmax(WORKED)[0], answer(WORKED, parameters, draw)[0]];
  const lines = [
    `Below, the logits ${WORKED.join(", ")}, whose top class has probability ${fixed(before)}, pass through the steps with s₀ = ${base}, λ = ${lambda}, T = ${temperature}.`,
    `${fixed(before)} → H = ${fixed(entropy(logSoftmax(WORKED)))} of ln 3, R = ${fixed(R)}`,
    `R → σ² = ${base} (1 + ${lambda} · ${fixed(R)}) = ${fixed(varianceOf(WORKED, parameters))}; one draw: ${text(noisy)}`,
    `${text(noisy)} → ${fixed(after)} for the top class, instead of ${fixed(before)}`,
  ];
  lines.forEach((line, i) => { byId(`worked-${i}`).textContent = line; });
}

/** Entropies of real queries as ticks at the bottom: members above, others below. */
function rug(real, { x, bottom }) {
  return [true, false].map((member) => {
    const [from, to] = member ? [bottom - 20, bottom - 11] : [bottom - 9, bottom];
    const d = real.filter((entry) => entry.member === member).map((entry) => `M${x(entry.share).toFixed(1)} ${from}V${to}`).join("");
    return svg("path", { d, class: `rug${member ? " member" : ""}` });
  });
}

/** DynaNoise's parameters of the run that the page draws. */
export function settingOf(data) {
  const folder = data.samples?.folder ?? data.runs[0].folder;
  const run = data.runs.find((entry) => entry.folder === folder);
  const { base_variance: base = 0.3, lambda_scale: lambda = 2, temperature = 10 } = run.defenses.dynanoise ?? {};
  return { folder, base, lambda, temperature };
}

/** The same for the game: cells as in the results of keyed noise, else 2.5 times the median gap between the two largest logits. */
export function gameOf(data) {
  const { folder, base, lambda, temperature } = settingOf(data);
  const keyed = data.runs.find((entry) => entry.folder === folder).defenses.dynanoise_keyed;
  return {
    s0: base, lambda, T: temperature, near: 2,
    width: keyed?.cell_width ?? Math.round(2.5 * data.samples.gap), keepLabel: keyed?.keep_label ?? false,
  };
}

function measured(samples) {
  return Array.from({ length: samples.rows }, (_, i) => ({
    member: samples.members[i] === 1,
    share: entropy(logSoftmax(samples.row(i))) / Math.log(samples.classes),
  }));
}
