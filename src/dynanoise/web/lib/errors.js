/** Errors that a user can mend: a problem and a remedy each; see dynanoise/core/errors.py. */

export class InputError extends Error {
  /**
   * @param {string} problem names the value.
   * @param {string} remedy
   */
  constructor(problem, remedy) {
    super(`${problem} ${remedy}`);
    this.name = new.target.name;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** The data are too few to resolve the metric, so a number would mislead. */
export class TooFewRecordsError extends InputError {}

/** @param {unknown} value @returns {string} as Python's repr has it, but for numbers. */
export function shown(value) {
  if (typeof value === "string") return `'${value}'`;
  if (value === true || value === false) return value ? "True" : "False";
  if (value === undefined || value === null) return "None";
  if (typeof value === "number" && Number.isNaN(value)) return "nan";
  if (value === Infinity || value === -Infinity) return value > 0 ? "inf" : "-inf";
  return String(value);
}

/** @param {number} value @returns {string} as Python's repr has a float. */
export function asFloat(value) {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : shown(value);
}

/**
 * @param {boolean} holds
 * @param {string} problem
 * @param {string} remedy
 */
export function require(holds, problem, remedy) {
  if (!holds) throw new InputError(problem, remedy);
}
