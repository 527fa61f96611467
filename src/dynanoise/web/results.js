/** Section 5: tables and charts of every data set, by protocol. */

import { entry } from "./chart.js";
import { at, methodTitle, dataTitle, metricTitle, overheadAt, protocolTitle } from "./data.js";
import { byId, digits, el, fixed, segments, svg } from "./dom.js";
import { interval, number } from "./source.js";
import { table } from "./table.js";

const OURS = /^dynanoise/;

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
    byId("res-there").textContent = `${dataTitle(set.name)} has results of ${set.protocols.length === 1 ? "one attacker" : `${set.protocols.length} attackers`}: ${set.protocols.map(({ protocol }) => protocolTitle(protocol)).join("; ")}.`;
    out.replaceChildren(...made.nodes);
    made.drawn?.();
  }
  show();
}

/** The budgets between 1 and 16 and beyond are in the chart of budgets, and attack by attack. */
const shownOf = (set) => set.protocols.filter(({ protocol }) => !/_(4|64|256)$/.test(protocol.name));

/** Everybody who was judged in a data set, in the order of its results. */
function everyone(set) {
  return [...new Set(set.protocols.flatMap(({ protocol }) => Object.keys(protocol.rows)))];
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
  const paper = set.protocols.filter(({ protocol }) => !protocol.knows);
  const honest = shownOf(set).filter(({ protocol }) => protocol.knows);
  const theirs = published(data, set.name);
  const columns = [{ title: "Test accuracy", group: "", begin: false }];
  for (const { protocol } of [...paper, ...honest]) {
    columns.push({ title: protocol.attacks.includes("strongest") ? "attacker’s choice" : "best attack", begin: true, group: protocolTitle(protocol), span: 3 }, { title: "MIDPUT" }, { title: "worst" });
  }
  if (!honest.length) columns.push({ title: "attacker’s choice", begin: true, group: "Adaptive" });
  const rows = everyone(set).map((name) => {
    const first = set.protocols.find(({ protocol }) => protocol.rows[name]);
    const cells = [measured(at(first.run, first.protocol, name, null, "accuracy"), theirs(name, null, "accuracy"))];
    for (const { run, protocol } of [...paper, ...honest]) {
      const get = (attack, metric) => at(run, protocol, name, attack, metric);
      cells.push(measured(get("strongest", "asr"), null, bestSingle(data, protocol, name)));
      for (const metric of ["midput", "midput_worst_case"]) {
        if (name === "none") cells.push({ node: absent("–"), value: null });
        else if (!protocol.rows[name]) cells.push({ node: "", value: null });
        else cells.push(measured(get(null, metric), protocol.knows ? null : theirs(name, null, metric)));
      }
    }
    if (!honest.length) cells.push({ node: absent("not run"), value: null });
    return { name: methodTitle(name), key: name, ours: OURS.test(name), cells };
  });
  const box = el("div", { class: "res-chart" });
  const panel = el("div", { class: "panel" },
    el("h3", {}, `${dataTitle(set.name)}: how often an attack is right`),
    el("p", { class: "fine" }, "Balanced accuracy: 0.5 is guessing. Lines: 95% intervals."),
    box,
    table(`Attack success and MIDPUT on ${dataTitle(set.name)}; small: the attack, its 95% interval, and the published value. Above 0 a defense gains more than it costs.`, columns, rows),
    notes(set));
  const draw = () => dots(box, set);
  new ResizeObserver(draw).observe(box);
  return { nodes: [panel], drawn: draw };
}

function notes(set) {
  const list = set.protocols.map(({ run, protocol }) => el("li", {}, el("b", {}, protocolTitle(protocol)), `: ${protocol.who} `, el("code", {}, run.command)));
  if (!set.protocols.some(({ protocol }) => protocol.knows)) list.push(el("li", {}, el("b", {}, "Adaptive attackers were not run on this data set."), " The numbers say nothing about an attacker who knows of the defense."));
  if (everyone(set).includes("dynanoise_tuned")) list.push(el("li", {}, el("b", {}, methodTitle("dynanoise_tuned")), ": a setting that was tuned on records of these networks. What is best of many settings is also the luckiest of many."));
  return el("details", { class: "notes-box" }, el("summary", {}, "Who these attackers are, and the commands that made the numbers"), el("ul", { class: "notes" }, ...list));
}

function published(data, preset) {
  const { columns, attack_success: success, midput } = data.published;
  return (method, attack, metric) => {
    if (metric === "midput") return midput[preset]?.[method] ?? null;
    const name = attack ? { lira_by_class: "lira" }[attack] ?? attack : metric === "accuracy" ? "accuracy" : "";
    if (attack && metric !== "asr") return null;
    return success[preset]?.[method]?.[columns.indexOf(name)] ?? null;
  };
}

/** One shape a protocol, the same for every data set; shapes differ in print and without colours, too. */
const PROTOCOLS = ["paper", "adaptive", "adaptive_16", "adaptive_near", "adaptive_chosen", "adaptive_key", "adaptive_disjoint", "adaptive_architecture", "adaptive_recipe"];
const MARKS = [
  (x, y) => svg("circle", { class: "ring", cx: x, cy: y, r: 5 }),
  (x, y) => svg("circle", { class: "dot accent", cx: x, cy: y, r: 6 }),
  (x, y) => svg("path", { class: "dot ink", d: `M${x} ${y - 7.5}l7.5 7.5l-7.5 7.5l-7.5 -7.5z` }),
  (x, y) => svg("rect", { class: "dot accent", x: x - 5.5, y: y - 5.5, width: 11, height: 11 }),
  (x, y) => svg("path", { class: "dot accent", d: `M${x} ${y + 7}l7 -12.5h-14z` }),
  (x, y) => svg("path", { class: "dot ink", d: `M${x} ${y - 7}l7 12.5h-14z` }),
  (x, y) => svg("rect", { class: "ring", x: x - 4.5, y: y - 4.5, width: 9, height: 9 }),
  (x, y) => svg("path", { class: "line ink", d: `M${x - 4.5} ${y - 4.5}l9 9m0 -9l-9 9` }),
  (x, y) => svg("path", { class: "line ink", d: `M${x - 6} ${y}h12m-6 -6v12` }),
];
/** The mark of a protocol; of one that is not among the above, the last. */
const mark = ({ name }, x, y) => MARKS.at(PROTOCOLS.indexOf(name))(x, y);

function dots(box, set) {
  const width = box.clientWidth;
  if (width < 80) return;
  const names = everyone(set);
  const chosen = shownOf(set);
  // Names stand beside their marks, or on a small screen above them.
  const narrow = width < 420, row = narrow ? 56 : 34, left = narrow ? 26 : Math.min(150, width * 0.34), right = 16;
  const high = names.length * row + 40;
  const all = chosen.flatMap(({ protocol }) => Object.values(protocol.rows).flatMap(({ most }) => [most.value, most.high ?? 0]));
  const most = Math.max(0.6, Math.ceil(Math.max(...all) * 20) / 20);
  const least = Math.min(0.5, ...chosen.flatMap(({ protocol }) => Object.values(protocol.rows).map(({ most: item }) => Math.floor((item.low ?? item.value) * 50) / 50)));
  const x = (v) => left + ((v - least) / (most - least)) * (width - left - right);
  const nodes = [];
  for (let tick = 0.5; tick <= most + 1e-9; tick += most - 0.5 > 0.25 ? 0.1 : 0.05) {
    nodes.push(svg("line", { class: tick === 0.5 ? "axis" : "grid", x1: x(tick), x2: x(tick), y1: 0, y2: high - 36 }));
    nodes.push(svg("text", { x: x(tick), y: high - 18, "text-anchor": "middle" }, tick.toFixed(2)));
  }
  nodes.push(svg("text", { x: x(0.5), y: high - 2, "text-anchor": "middle" }, "guessing"));
  names.forEach((name, i) => {
    const y = i * row + row / 2;
    nodes.push(svg("text", { x: 0, y: narrow ? i * row + 15 : y + 4, class: OURS.test(name) ? "value" : "" }, methodTitle(name)));
    nodes.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y + row / 2, y2: y + row / 2 }));
    chosen.forEach(({ protocol }, k) => {
      const cited = protocol.rows[name]?.most;
      if (!cited) return;
      const offset = (k - (chosen.length - 1) / 2) * 5 + (narrow ? 10 : 0);
      if (cited.low !== null) nodes.push(svg("line", { class: "line thin", x1: x(cited.low), x2: x(cited.high), y1: y + offset, y2: y + offset }));
      nodes.push(mark(protocol, x(cited.value), y + offset));
    });
  });
  const text = `Success of attacks by defense. ${names.map((name) => `${methodTitle(name)}: ${chosen.filter(({ protocol }) => protocol.rows[name]).map(({ protocol }) => `${protocolTitle(protocol)} ${fixed(protocol.rows[name].most.value)}`).join(", ")}`).join(". ")}.`;
  box.replaceChildren(
    el("ul", { class: "legend" }, ...chosen.map(({ protocol }) => entry({ name: protocolTitle(protocol), mark: mark(protocol, 13, 6) }))),
    el("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${high}`, height: high, role: "img", "aria-label": text }, svg("title", {}, text), ...nodes)),
  );
}

function attacks(data, set) {
  let place = 0, metric = "asr";
  const theirs = published(data, set.name);
  const box = el("div");
  const protocols = el("select", { onchange: (event) => { place = Number(event.target.value); show(); } },
    ...set.protocols.map(({ protocol }, i) => el("option", { value: i }, protocolTitle(protocol))));
  const metrics = el("select", { onchange: (event) => { metric = event.target.value; show(); } });
  function show() {
    const { run, protocol } = set.protocols[place];
    const offered = data.attack.filter((name) => Object.values(protocol.rows).some((row) => Object.values(row.attacks).some((item) => item[name])));
    if (!offered.includes(metric)) metric = "asr";
    metrics.replaceChildren(...offered.map((name) => el("option", { value: name, selected: name === metric }, metricTitle(name))));
    const columns = protocol.attacks.map((name) => ({ title: data.titles[name] }));
    const rows = Object.keys(protocol.rows).map((name) => ({
      name: methodTitle(name), key: name, ours: OURS.test(name),
      cells: protocol.attacks.map((attack) => {
        const value = protocol.rows[name].attacks[attack][metric];
        if (!value) return { node: "–", value: null };
        const cited = { run, protocol, method: name, attack, metric, cell: value };
        // `strongest` as an attack of its own is the attacker's choice; its success is that of the summary.
        return measured(attack === "strongest" && metric === "asr" ? at(run, protocol, name, attack, metric) : cited, protocol.knows ? null : theirs(name, attack, metric));
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
  return {
    nodes: [el("div", { class: "panel" },
      table(`What an output costs, over the undefended model (${dataTitle(data.overhead.dataset)}, ${data.overhead.model}; ${data.overhead.hardware}); small: 95% intervals`, columns, body),
      el("ul", { class: "notes" }, el("li", {}, "HAMP, DP-SGD and others train networks of their own: where these are smaller, outputs take less time. ", el("code", {}, data.overhead.command))))],
  };
}
