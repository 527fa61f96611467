/** Section 7: tables and charts of every data set, by protocol. */

import { bars } from "./bars.js";
import { at, dataTitle, methodTitle, metricTitle, overheadAt, protocolTitle } from "./data.js";
import { byId, digits, el, fixed, segments } from "./dom.js";
import { OURS, dots } from "./dots.js";
import { interval, number } from "./source.js";
import { table } from "./table.js";

export function start(data) {
  const sets = [...data.sets.values()].sort((a, b) => b.protocols.length - a.protocols.length);
  let set = sets[0], view = "summary";
  segments(byId("res-data"), sets.map((item) => ({ value: item.name, text: dataTitle(item.name) })), set.name, (value) => { set = data.sets.get(value); show(); });
  segments(byId("res-view"), [
    { value: "summary", text: "Summary" }, { value: "attacks", text: "Attack by attack" },
    ...(data.overhead ? [{ value: "overhead", text: "Time and memory" }] : []),
  ], view, (value) => { view = value; show(); });
  const out = byId("res-out");
  function show() {
    const made = { summary: () => summary(data, set), attacks: () => attacks(data, set), overhead: () => overhead(data) }[view]();
    byId("res-there").textContent = `${dataTitle(set.name)} has results of ${set.protocols.length === 1 ? "the paper’s attacker only" : `${set.protocols.length} attackers`}.`;
    out.replaceChildren(...made.nodes);
    made.drawn?.();
  }
  show();
}

/** Other budgets are in the chart of budgets, and attack by attack. */
const shownOf = (set) => set.protocols.filter(({ name }) => !/_(4|64|256)$/.test(name));

/** Everybody who was judged in a data set, in the order of its results. */
function everyone(set) {
  return [...new Set(set.protocols.flatMap(({ rows }) => Object.keys(rows)))];
}

const absent = (text) => el("span", { class: "absent" }, text);

/** The single attack with more success than the attacker's choice, if there is one. */
function bestSingle(data, protocol, method) {
  const { most, attacks } = protocol.rows[method] ?? { attacks: {} };
  const [title, value] = Object.entries(attacks)
    .map(([name, metrics]) => [data.titles[name], metrics.asr?.value ?? 0])
    .reduce((best, each) => (each[1] > best[1] ? each : best), ["", most?.value ?? 1]);
  return title && `best single: ${title} ${fixed(value)}`;
}

function measured(cited, theirs = null, more = null) {
  if (!cited) return { node: absent("not run"), value: null };
  const small = [cited.title ?? null, interval(cited), theirs === null ? null : `published ${fixed(theirs, 3, cited.metric === "midput")}`, more];
  return { node: number(cited), value: cited.cell.value, small };
}

function summary(data, set) {
  const paper = set.protocols.filter(({ knows }) => !knows);
  // An attacker with the key is one for keyed noise alone: in the chart, and attack by attack.
  const honest = shownOf(set).filter(({ knows, name }) => knows && name !== "adaptive_key");
  const theirs = published(data, set);
  const columns = [];
  const accuracy = (protocol, name) => at(protocol, name, null, "accuracy");
  // Models of the paper's protocol are others than those of a pool, and so is their accuracy.
  const shown = [...paper, ...honest].map((protocol, i, all) => ({
    protocol, withAccuracy: i === 0 || accuracy(protocol, "none")?.cell.value !== accuracy(all[i - 1], "none")?.cell.value,
  }));
  for (const { protocol, withAccuracy } of shown) {
    const titles = [...(withAccuracy ? ["Test accuracy"] : []), protocol.attacks.includes("strongest") ? "attacker’s choice" : "best attack", "MIDPUT", "worst"];
    const [first, ...others] = titles.map((title) => ({ title }));
    columns.push({ ...first, begin: true, group: protocolTitle(protocol), span: titles.length }, ...others);
  }
  // Attackers that a data set has no results of: nothing is claimed about them.
  const missing = honest.length ? [] : ["Adaptive"];
  if (!honest.some(({ name }) => name === "adaptive_chosen")) missing.push("Adaptive, inputs of its choice");
  for (const group of missing) columns.push({ title: "attacker’s choice", begin: true, group });
  const rows = everyone(set).map((name) => {
    const cells = [];
    for (const { protocol, withAccuracy } of shown) {
      if (withAccuracy) cells.push(protocol.rows[name] ? measured(accuracy(protocol, name), protocol.knows ? null : theirs(name, null, "accuracy")) : { node: "", value: null });
      const get = (attack, metric) => at(protocol, name, attack, metric);
      cells.push(measured(get("strongest", "asr"), null, bestSingle(data, protocol, name)));
      for (const metric of ["midput", "midput_worst_case"]) {
        if (name === "none") cells.push({ node: absent("–"), value: null });
        else if (!protocol.rows[name]) cells.push({ node: "", value: null });
        else cells.push(measured(get(null, metric), protocol.knows ? null : theirs(name, null, metric)));
      }
    }
    cells.push(...missing.map(() => ({ node: absent("not run"), value: null })));
    return { name: methodTitle(name), key: name, ours: OURS.test(name), cells };
  });
  const box = el("div", { class: "res-chart" });
  const gains = midput(set);
  const panel = el("div", { class: "panel" },
    el("h3", {}, `${dataTitle(set.name)}: how often an attack is right`),
    el("p", { class: "fine" }, "Balanced accuracy: 0.5 is guessing. Lines: 95% intervals."),
    box,
    gains.node,
    table(`Attack success and MIDPUT on ${dataTitle(set.name)}; small: the attack, its 95% interval${data.published.compared.includes(set.name) ? ", and the published value" : ""}. Above 0 a defense gains more than it costs.`, columns, rows),
    notes(set));
  const draw = () => { dots(box, shownOf(set), everyone(set)); gains.draw(); };
  new ResizeObserver(draw).observe(box);
  return { nodes: [panel], drawn: draw };
}

/** MIDPUT of every defense under one attacker at a time, on one scale for all of them. */
function midput(set) {
  const shown = shownOf(set);
  const cells = ({ rows }) => everyone(set).filter((name) => name in rows && name !== "none").map((name) => [name, rows[name].utility.midput]);
  const all = shown.flatMap((item) => cells(item).flatMap(([, { value, low, high }]) => [low ?? value, high ?? value]));
  const [least, most] = [Math.floor(20 * Math.min(0, ...all)) / 20, Math.ceil(20 * Math.max(...all)) / 20];
  const step = most - least > 0.25 ? 0.1 : 0.05;
  const ticks = [];
  for (let tick = Math.ceil(least / step - 1e-9); tick * step <= most + 1e-9; tick++) ticks.push(tick * step || 0);
  let current = shown.find(({ name }) => name === "adaptive_16") ?? shown[0];
  const box = el("div", { class: "res-chart", id: "res-midput" });
  const draw = () => bars(box, {
    title: `MIDPUT on ${dataTitle(set.name)}, ${protocolTitle(current)}`, label: "MIDPUT", domain: [least, most], ticks, origin: 0,
    text: (value) => fixed(value, 3, true), mark: (tick) => fixed(tick, 2),
  }, cells(current).map(([name, cell]) => ({ name: methodTitle(name), ours: OURS.test(name), cells: [cell] })), [{ name: "MIDPUT", style: "accent" }]);
  const choice = el("fieldset", { class: "segments", id: "res-attacker" }, el("legend", {}, "Attacker"));
  segments(choice, shown.map((protocol) => ({ value: protocol.name, text: protocolTitle(protocol) })), current.name, (value) => {
    current = shown.find(({ name }) => name === value);
    draw();
  });
  const node = el("div", {},
    el("h3", {}, "MIDPUT: the fall in attack success, less the fall in accuracy"),
    el("p", { class: "fine" }, "Mean over the attacks. Below 0 a defense costs more than it gains. Lines: 95% intervals."),
    el("div", { class: "controls" }, choice), box);
  return { node, draw };
}

function notes(set) {
  const list = set.protocols.map((protocol) => {
    const commands = new Set(Object.values(protocol.rows).map(({ run }) => run.command));
    return el("li", {}, el("b", {}, protocolTitle(protocol)), `: ${protocol.who} `, ...[...commands].flatMap((command) => [el("code", {}, command), " "]));
  });
  if (!set.protocols.some(({ knows }) => knows)) list.push(el("li", {}, el("b", {}, "Adaptive attackers were not run on this data set."), " The numbers say nothing about an attacker who knows of the defense."));
  if (everyone(set).includes("dynanoise_tuned")) list.push(el("li", {}, el("b", {}, methodTitle("dynanoise_tuned")), ": a setting that was tuned on records of these networks. What is best of many settings is also the luckiest of many."));
  return el("details", { class: "notes-box" }, el("summary", {}, "Who these attackers are, and the commands that made the numbers"), el("ul", { class: "notes" }, ...list));
}

/** The published value of a method; null for models or sizes that are not the paper's. */
function published(data, { name: dataSet, preset }) {
  const { columns, attack_success: success, midput, compared } = data.published;
  return (method, attack, metric) => {
    if (!compared.includes(dataSet)) return null;
    if (metric === "midput") return midput[preset]?.[method] ?? null;
    const name = attack ? { lira_by_class: "lira" }[attack] ?? attack : metric === "accuracy" ? "accuracy" : "";
    if (attack && metric !== "asr") return null;
    return success[preset]?.[method]?.[columns.indexOf(name)] ?? null;
  };
}

function attacks(data, set) {
  let place = 0, metric = "asr";
  const theirs = published(data, set);
  const box = el("div");
  const protocols = el("select", { onchange: (event) => { place = Number(event.target.value); show(); } },
    ...set.protocols.map((protocol, i) => el("option", { value: i }, protocolTitle(protocol))));
  const metrics = el("select", { onchange: (event) => { metric = event.target.value; show(); } });
  function show() {
    const protocol = set.protocols[place];
    const offered = data.attack.filter((name) => Object.values(protocol.rows).some((row) => Object.values(row.attacks).some((item) => item[name])));
    if (!offered.includes(metric)) metric = "asr";
    metrics.replaceChildren(...offered.map((name) => el("option", { value: name, selected: name === metric }, metricTitle(name))));
    const columns = protocol.attacks.map((name) => ({ title: data.titles[name] }));
    const rows = Object.keys(protocol.rows).map((name) => ({
      name: methodTitle(name), key: name, ours: OURS.test(name),
      cells: protocol.attacks.map((attack) => {
        // `strongest` as an attack of its own is the attacker's choice; its success is that of the summary.
        const cited = at(protocol, name, attack, metric);
        return cited ? measured(cited, protocol.knows ? null : theirs(name, attack, metric)) : { node: "–", value: null };
      }),
    }));
    box.replaceChildren(table(`${dataTitle(set.name)}, ${protocolTitle(protocol)}: ${metricTitle(metric)}`, columns, rows));
  }
  show();
  return {
    nodes: [el("div", { class: "panel" },
      el("label", { class: "pick" }, "Attacker", protocols), el("label", { class: "pick" }, "Measure", metrics), box, notes(set))],
  };
}

function overhead(data) {
  const { batches, rows, published: theirs } = data.overhead;
  const kinds = [["ratio", "time", (v) => `${digits(v)}×`], ["ms_per_record", "ms a record", (v) => digits(v)], ["extra_mib", "MiB beside the model", (v) => (v < 0.01 ? "<0.01" : digits(v, 2))]];
  const columns = kinds.flatMap(([kind, title]) => batches.map((batch, i) => ({ title: batch === 1 ? "alone" : `batch ${batch}`, begin: i === 0, ...(i === 0 ? { group: title, span: batches.length + (kind === "ratio" ? 1 : 0) } : {}) }))
    .concat(kind === "ratio" ? [{ title: "paper" }] : []));
  const body = Object.keys(rows).map((name) => ({
    name: methodTitle(name), key: name, ours: OURS.test(name),
    cells: kinds.flatMap(([kind, , text]) => batches.map((batch) => {
      const cited = overheadAt(data, name, `${kind}_batch_${batch}`);
      if (!cited) return { node: "–", value: null };
      const ends = kind === "ratio" && cited.cell.low !== null ? [`[${digits(cited.cell.low)}, ${digits(cited.cell.high)}]`] : [];
      return { node: number(cited, text(cited.cell.value)), value: cited.cell.value, small: ends };
    }).concat(kind === "ratio" ? [{ node: theirs[name] ? `${digits(theirs[name])}×` : "–", value: theirs[name] ?? null }] : [])),
  }));
  const box = el("div", { class: "res-chart", id: "res-times" });
  const ratio = (name, batch) => overheadAt(data, name, `ratio_batch_${batch}`)?.cell ?? null;
  const draw = () => bars(box, {
    title: "Time of an output relative to an undefended one", label: "time relative to an undefended output", domain: [0.1, 100], log: true,
    ticks: [0.1, 1, 10, 100], origin: 1, text: (value) => `${digits(value, 3)}×`, mark: (tick) => `${tick}×`,
  }, Object.keys(rows).filter((name) => name !== "none").map((name) => ({ name: methodTitle(name), ours: OURS.test(name), cells: batches.map((batch) => ratio(name, batch)) })),
  batches.map((batch, i) => ({ name: batch === 1 ? "alone" : `in batches of ${batch}`, style: i ? "" : "accent" })));
  new ResizeObserver(draw).observe(box);
  return {
    drawn: draw,
    nodes: [el("div", { class: "panel" },
      el("h3", {}, "How much longer an output takes"),
      box,
      table(`What an output costs, over the undefended model (${dataTitle(data.overhead.dataset)}, ${data.overhead.model}; ${data.overhead.hardware}); small: 95% intervals`, columns, body),
      el("ul", { class: "notes" }, el("li", {}, "HAMP, DP-SGD and others train networks of their own: where these are smaller, outputs take less time. ", el("code", {}, data.overhead.command))))],
  };
}
