/** The names that a user's file may hold, as dynanoise/audits/outputs_file.py has them. */

import { InputError } from "./errors.js";

/** Arrays of an npz file. */
export const NAMES = ["logits", "probs", "labels", "member", "test_logits", "test_probs", "test_labels"];

/**
 * Refuses what is none of the names, so that a misspelled one is not silently left out.
 * @param {string} file
 * @param {string[]} names
 * @param {string} what they are.
 * @param {string[]} allowed
 */
export function known(file, names, what, allowed = NAMES) {
  const unknown = names.find((name) => !allowed.includes(name) && name !== "label");
  if (unknown === undefined) return;
  const [close] = allowed
    .map((name) => ({ name, far: distance(unknown, name) }))
    .filter(({ name, far }) => far <= Math.max(unknown.length, name.length) / 2)
    .sort((a, b) => a.far - b.far);
  const hint = close ? `Did you mean '${close.name}'? ` : "";
  throw new InputError(
    `${file} holds the unknown '${unknown.slice(0, 60)}' among its ${what}.`,
    `${hint}Known: ${allowed.join(", ")}.`,
  );
}

/** Levenshtein's: letters to insert, leave out or exchange. */
function distance(one, other) {
  if (one.length > 60) return Infinity;
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const change = row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[other.length];
}
