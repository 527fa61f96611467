/** The rules of the game, without a picture: a server with noise, and an attacker who queries it. */

import { add, antithetic, beginning, error, jitter } from "./lib/average.js";
import { answer, parametersOf } from "./lib/dynanoise.js";
import { bound, keyed, keyedAnswer } from "./lib/keyed.js";
import { normals } from "./lib/random.js";

/** A key made for showing: it is in every copy of this page, so it is not secret. */
const SHOWN_KEY = "5f".repeat(32);
const PAIRS = 50;
const REACH = 4; // widths of a cell
export const MOST = 5000;

/** @typedef {{ noise: "fresh" | "keyed", question: "same" | "near" | "pairs" }} Mode */
/** @typedef {{ s0: number, lambda: number, T: number, width: number, near: number, keepLabel: boolean }} Setting */

/** Answers queries as a deployed model would. */
export function server(setting, noise, classes, generator) {
  const keepLabel = noise === "keyed" && setting.keepLabel;
  const parameters = parametersOf({ baseVariance: setting.s0, lambdaScale: setting.lambda, temperature: setting.T, keepLabel });
  if (noise === "fresh") return (logits) => answer(logits, parameters, normals(generator, classes));
  const source = keyed({ root: SHOWN_KEY, model: "page", weights: SHOWN_KEY, cellWidth: setting.width });
  const keys = bound(source, classes, parameters);
  return (logits) => keyedAnswer(source, logits, parameters, keys);
}

/** The shifts that the attacker adds to the logits of each query, by the kind of queries. */
export function* shifts(question, setting, classes, generator) {
  while (true) {
    if (question === "same") yield null;
    else if (question === "near") yield jitter(classes, setting.near, generator);
    else yield* antithetic(classes, REACH * setting.width, PAIRS, generator);
  }
}

/**
 * An attacker of one query; `ask(n)` goes on asking.
 * @param {Float64Array} logits the clean ones, which only the server and the score know
 * @param {Mode} mode
 */
export function attacker(logits, mode, setting, generator) {
  const classes = logits.length;
  const reply = server(setting, mode.noise, classes, generator);
  const moves = shifts(mode.question, setting, classes, generator);
  const game = { estimate: beginning(classes), errors: [], ask };
  function ask(times) {
    for (let i = 0; i < times && game.errors.length < MOST; i++) {
      const shift = moves.next().value;
      const query = shift ? logits.map((value, k) => value + shift[k]) : logits;
      // An attacker who moves logits knows by how much; the shift of a near-duplicate is not known.
      const shiftKnown = mode.question === "pairs" ? shift : null;
      game.estimate = add(game.estimate, reply(query), setting.T, shiftKnown);
      game.errors.push(error(game.estimate, logits));
    }
  }
  return game;
}
