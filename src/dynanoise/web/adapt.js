/** Section 4, below: what results say of attackers who repeat queries, and who choose inputs. */

import { chart } from "./chart.js";
import { methodTitle } from "./data.js";
import { byId, fixed } from "./dom.js";
import { dots } from "./dots.js";

const STYLES = { none: "ink thin", dynanoise: "accent", dynanoise_keyed: "accent dashed", calibrated_label: "dotted ink" };
const CHOSEN = ["none", "dynanoise", "dynanoise_keyed", "cells", "calibrated_label", "memguard", "hamp", "out_of_fold"];

export function start(data) {
  repeated(data);
  const set = data.sets.get("digits");
  const shown = ["adaptive", "adaptive_16", "adaptive_chosen"].map((name) => set?.protocols.find((protocol) => protocol.name === name)).filter(Boolean);
  const box = byId("adapt-chosen");
  if (shown.length) new ResizeObserver(() => dots(box, shown, CHOSEN.filter((name) => name in shown[0].rows))).observe(box);
  else box.closest("figure").remove();
}

/** LiRA by the number of times that each query is repeated. */
function repeated(data) {
  const protocols = data.sets.get("cifar10")?.protocols.filter(({ name }) => /^adaptive(_\d+)?$/.test(name)) ?? [];
  const budgets = protocols.map(({ repeats }) => repeats);
  const series = Object.entries(STYLES).map(([name, style]) => ({
    name: methodTitle(name), style, dots: true,
    points: protocols.filter(({ rows }) => rows[name]).map(({ repeats, rows }) => [repeats, rows[name].attacks.lira.auc.value]),
  }));
  const say = ({ name, points }) => `${name} ${points.map(([count, auc]) => `${fixed(auc)} with ${count}`).join(", ")}`;
  chart(byId("adapt-repeated"), {
    x: { label: "queries a record", domain: [1, Math.max(...budgets)], log: true, ticks: budgets, text: (v) => String(Math.round(v)) },
    y: { label: "AUC of LiRA", domain: [0.5, 1], ticks: [0.5, 0.6, 0.7, 0.8, 0.9, 1], text: (v) => v.toFixed(3), mark: (v) => v.toFixed(1) },
    height: 330,
  }).draw(series, `AUC of LiRA by queries a record. ${series.map(say).join("; ")}.`);
}
