/** Links from numbers to their results, and the dialog that they open. */

import { at, methodTitle, dataTitle, metricTitle, overheadAt, protocolTitle } from "./data.js";
import { byId, copy, digits, el, fixed } from "./dom.js";

const PREFIX = "#record/";
const UNKNOWN = "The results of this page hold no such number: the link is broken, or of another version of them.";

/** The address of a number within the page. */
export function address(cited) {
  const parts = [cited.run.folder, cited.protocol.name, cited.method, cited.attack ?? "-", cited.metric];
  return PREFIX + parts.map(encodeURIComponent).join("/");
}

/**
 * A number as a link to its source.
 * @param {import("./data.js").Cited | null} cited
 * @param {string} [text] instead of the value with three decimals
 */
export function number(cited, text) {
  if (!cited) return el("span", { class: "absent" }, "–");
  const signed = cited.metric.startsWith("midput");
  return el("a", { class: "num", href: address(cited) }, text ?? fixed(cited.cell.value, 3, signed));
}

/** Such as "[.780, .795]", or null. */
export function interval({ cell }) {
  if (cell.low === null || cell.low === cell.high) return null;
  return `[${fixed(cell.low)}, ${fixed(cell.high)}]`;
}

/** Opens the dialog whenever the address asks for a number. */
export function start(data) {
  const dialog = byId("source");
  let back = null, before = "#";
  const show = (event) => {
    if (!location.hash.startsWith(PREFIX)) {
      if (dialog.open) dialog.close();
      return;
    }
    const cited = looked(data, location.hash);
    if (event) {
      const old = new URL(event.oldURL).hash;
      before = old.startsWith(PREFIX) ? before : old;
    }
    byId("source-body").replaceChildren(...(cited ? body(cited) : [el("p", {}, UNKNOWN)]));
    if (!dialog.open) {
      back = document.activeElement;
      dialog.showModal();
    }
  };
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith(PREFIX)) history.replaceState(history.state, "", location.pathname + location.search + before);
    if (back instanceof HTMLElement && back.isConnected) back.focus({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  addEventListener("hashchange", show);
  show(null);
}

/** The number that a link asks for; null where it is broken, or of other results. */
function looked(data, hash) {
  let parts;
  try {
    parts = hash.slice(PREFIX.length).split("/").map(decodeURIComponent);
  } catch {
    return null;
  }
  const [folder, protocol, method, attack, metric] = parts;
  if (protocol === "overhead") return overheadAt(data, method, metric);
  return data.find(folder, protocol, method, attack === "-" ? null : attack, metric);
}

function body(cited) {
  const { run, protocol, cell } = cited;
  const text = protocol.name === "overhead" ? (value) => digits(value, 4) : (value) => fixed(value, 3, cited.metric.startsWith("midput"));
  const ends = cell.low === null ? null : `95% interval ${text(cell.low)} to ${text(cell.high)}`;
  const status = el("span", { class: "said", role: "status" });
  const defense = run.defenses?.[cited.method];
  const pairs = [
    ["Measured", `${metricTitle(cited.metric)}${cited.attack ? `, attack: ${cited.title ?? cited.attack}` : ""}`],
    ["Behind", `${methodTitle(cited.method)}${defense ? ` (${plain(defense)})` : ""}`],
    ["On", `${dataTitle(run.dataset)}, ${run.model}${protocol.seeds > 1 ? `; mean of ${protocol.seeds} seeds` : ""}`],
    ["Against", protocol.knows === undefined ? protocol.who : `${protocolTitle(protocol)}. ${protocol.who}`],
    ["Result", el("span", {}, el("code", {}, run.file), ` · protocol ${protocol.name}, method ${cited.method}, ${cited.attack ? `attack ${cited.attack}` : "no attack"}`)],
    ["SHA-256", el("code", {}, run.sha256)],
    ["Made by", el("code", {}, run.command)],
    ["With", `${Object.entries(run.versions).map((pair) => pair.join(" ")).join(", ")}; ${run.hardware}`],
  ];
  return [
    el("p", { class: "big" }, text(cell.value), " ", ends && el("small", {}, ends)),
    el("div", { class: "buttons" },
      el("button", { type: "button", onclick: () => copy(run.command, status, "The command was") }, "Copy command"), status),
    el("dl", {}, ...pairs.flatMap(([term, about]) => [el("dt", {}, term), el("dd", {}, about)])),
  ];
}

function plain(defense) {
  return Object.entries(defense).map(([key, value]) => (key === "name" ? value : `${key.replaceAll("_", " ")} ${value}`)).join(", ");
}

/** Fills placeholders of the text: `data-fact` with numbers, `data-queries` with the queries a record of a protocol. */
export function facts(data) {
  for (const place of document.querySelectorAll("[data-fact]")) {
    const [preset, protocol, method, attack, metric] = place.dataset.fact.split("/");
    const cited = data.shown(preset, protocol, method, attack === "-" ? null : attack, metric);
    if (cited) place.replaceChildren(number(cited));
    else place.replaceChildren("(not measured)");
  }
  for (const place of document.querySelectorAll("[data-queries]")) {
    const [preset, name] = place.dataset.queries.split("/");
    const protocol = data.sets.get(preset)?.protocols.find((entry) => entry.name === name);
    place.textContent = protocol ? protocol.repeats : "(not measured)";
  }
}

export { at };
