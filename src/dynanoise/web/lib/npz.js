/** Files of several arrays, as np.savez and np.savez_compressed write them. */

import { InputError, require } from "./errors.js";
import { known } from "./names.js";
import { readNpy } from "./npy.js";
import { bytesOf, membersOf } from "./zip.js";

/** Numbers of one file that are read at most: 256 MiB as float64. */
export const MOST = 2 ** 25;

/**
 * The arrays of a file.
 * @param {string} file its name, for messages.
 * @param {ArrayBuffer} buffer
 * @param {number} most numbers that are read; a file with more is refused before it is unpacked.
 * @returns {Promise<Result<string, import("./npy.js").Numbers>>} by name; `label` becomes `labels`.
 */
export async function readNpz(file, buffer, most = MOST) {
  const members = membersOf(file, buffer);
  const names = members.map((member) => member.name.replace(/\.npy$/, ""));
  known(file, names, "arrays");
  const found = {};
  let left = most;
  for (const [i, member] of members.entries()) {
    const name = names[i] === "label" ? "labels" : names[i];
    require(!Object.hasOwn(found, name), `${file} holds ${name} twice.`, "Save every array once.");
    // Of the largest numbers, with a header: what is certain to be too much is not unpacked.
    if (member.size > 8 * left + 2 ** 16 + 12) {
      throw new InputError(
        `${file} unpacks to ${Math.round(member.size / 2 ** 20)} MiB for ${name}, which is too much for a page.`,
        "Audit a part of the records here, or all of them by `dynanoise audit`.",
      );
    }
    found[name] = readNpy(file, name, await bytesOf(file, buffer, member), left);
    left -= found[name].values.length;
  }
  return found;
}
