/** Reading zip archives as numpy and zipfile write them: stored or deflated members. */

import { InputError, require } from "./errors.js";

/** @typedef {{ name: string, method: number, flags: number, crc: number, packed: number, size: number, start: number }} Member */

const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];
const REMEDY = "Save it again: np.savez(path, probs=probs, labels=labels, member=member).";

/** @param {string} file @param {string} what @returns {never} */
function damaged(file, what) {
  throw new InputError(`${file} cannot be read as npz (${what}).`, REMEDY);
}

/**
 * The members of an archive, from its central directory.
 * @param {string} file its name, for messages.
 * @param {ArrayBuffer} buffer
 * @returns {Member[]}
 */
export function membersOf(file, buffer) {
  const view = new DataView(buffer);
  // The end record is 22 bytes and a comment of at most 65,535.
  let end = buffer.byteLength - 22;
  const first = Math.max(0, end - 0xffff);
  while (end >= first && view.getUint32(end, true) !== END) end -= 1;
  if (end < first) damaged(file, "it is no zip archive, or its end is missing");
  const count = view.getUint16(end + 10, true);
  let place = view.getUint32(end + 16, true);
  const found = [];
  for (let i = 0; i < count; i++) {
    if (place + 46 > end || view.getUint32(place, true) !== CENTRAL) {
      damaged(file, "its table of contents is damaged");
    }
    const lengths = [28, 30, 32].map((offset) => view.getUint16(place + offset, true));
    if (place + 46 + lengths[0] > end) damaged(file, "its table of contents is damaged");
    found.push({
      name: new TextDecoder().decode(new Uint8Array(buffer, place + 46, lengths[0])),
      flags: view.getUint16(place + 8, true),
      method: view.getUint16(place + 10, true),
      crc: view.getUint32(place + 16, true),
      packed: view.getUint32(place + 20, true),
      size: view.getUint32(place + 24, true),
      start: view.getUint32(place + 42, true),
    });
    place += 46 + lengths[0] + lengths[1] + lengths[2];
  }
  if (found.some((one) => [one.packed, one.size, one.start].includes(0xffffffff))) {
    throw new InputError(`${file} holds an array of 4 GiB or more.`, "Audit a part of the records.");
  }
  return found;
}

/**
 * One member's bytes, no more than its table of contents promises.
 * @param {string} file
 * @param {ArrayBuffer} buffer
 * @param {Member} member whose `size` the caller finds acceptable.
 * @returns {Promise<Uint8Array>}
 */
export async function bytesOf(file, buffer, member) {
  require(
    (member.flags & 1) === 0,
    `${file} is encrypted.`,
    "Unpack it, and save the arrays without a password.",
  );
  const view = new DataView(buffer);
  const { start, packed, size, name, method } = member;
  if (start + 30 > buffer.byteLength || view.getUint32(start, true) !== LOCAL) {
    damaged(file, `${name} is not where it should be`);
  }
  const from = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
  if (from + packed > buffer.byteLength) damaged(file, `${name} is cut off`);
  const raw = new Uint8Array(buffer, from, packed);
  if (method !== 0 && method !== 8) damaged(file, `${name} is compressed by method ${method}`);
  const bytes = method === 0 ? raw : await inflated(file, name, raw, size);
  if (bytes.length !== size || crc32(bytes) !== member.crc) {
    damaged(file, `${name} is damaged: its checksum does not fit`);
  }
  return bytes;
}

/** Stops as soon as there is more than was promised. */
async function inflated(file, name, raw, size) {
  if (typeof DecompressionStream === "undefined") {
    throw new InputError(
      `${file} is compressed, and this browser cannot unpack it.`,
      "Save it with np.savez instead of np.savez_compressed, or use a newer browser.",
    );
  }
  const made = new Uint8Array(size);
  const reader = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  let filled = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (filled + part.value.length > size) {
        filled = -1;
        await reader.cancel();
        break;
      }
      made.set(part.value, filled);
      filled += part.value.length;
    }
  } catch {
    filled = -1;
  }
  if (filled !== size) damaged(file, `${name} does not unpack to the size that is promised`);
  return made;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param {Uint8Array} bytes @returns {number} */
export function crc32(bytes) {
  let value = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) value = TABLE[(value ^ bytes[i]) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
}
