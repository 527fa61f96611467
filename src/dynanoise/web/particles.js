/**
 * Queries as particles: each flies to the place that an attacker gives it, least likely member on
 * the left; members are stacked above the line, the others below. Those that the attacker calls
 * members are filled, the others are rings. Where the attack works, the two heaps lean apart; where
 * it fails, they mirror each other.
 */

import { normals, seeded, uniform } from "./lib/random.js";

const DWELL = 22; // seconds that a query stays before it is asked again
const FLIGHT = 1.5;
const MARGIN = 26; // for the words above and below
const SLOW = 1 / 40; // a frame longer than this, on average, and the page draws every second one

/** @typedef {{ members: ArrayLike<number>, order: ArrayLike<number>, called: boolean[], noise: number }} View */

/**
 * Whom an attacker accuses who knows that half of the queries are members': the upper half.
 * @param {number[]} order each row's place, 0 for the least likely member, -1 for none
 * @returns {boolean[]} equal places are called alike, so that fewer than half may be
 */
export function called(order) {
  const there = order.filter((place) => place >= 0).sort((a, b) => b - a);
  const half = there.length >> 1;
  const threshold = there[half - 1] > there[half] ? there[half - 1] : there[half] + 1;
  return order.map((place) => place >= threshold);
}

/**
 * Where each particle rests: column and height in it.
 * @param {View} view order: each row's place, 0 for the least likely member
 * @param {number} columns
 */
export function places(view, columns) {
  const count = view.order.length;
  const above = new Int32Array(columns), below = new Int32Array(columns);
  const grid = new Array(count);
  const sorted = Array.from({ length: count }, (_, i) => i).filter((i) => view.order[i] >= 0);
  sorted.sort((a, b) => view.order[a] - view.order[b]);
  sorted.forEach((row, place) => {
    const column = Math.min(columns - 1, Math.floor((place / sorted.length) * columns));
    const member = view.members[row] === 1;
    grid[row] = { column, level: member ? above[column]++ : -1 - below[column]++ };
  });
  return { grid, above, below };
}

/** A canvas with particles; `show(view)` sends them to new places, `step` moves and draws them. */
export class Particles {
  constructor(canvas, members) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.members = members;
    const generator = seeded("particles");
    const wobble = normals(generator, 2 * members.length);
    this.all = Array.from(members, (member, i) => ({
      member: member === 1, x: 0, y: 0, fromX: 0, fromY: 0, toX: 0, toY: 0, there: false,
      wait: uniform(generator) * DWELL, flying: -1, lag: uniform(generator) * 0.45, wobble: [wobble[2 * i], wobble[2 * i + 1]],
    }));
    this.view = null;
    this.average = 1 / 60;
    this.skip = false;
    this.colours();
    this.size();
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    this.colour = Object.fromEntries(
      ["accent", "others", "muted", "line-strong", "ink"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
    );
    this.font = style.getPropertyValue("--sans");
    if (this.radius) this.#stamped();
  }

  size() {
    // Before it is laid out it has no size, and a little one will do.
    const box = this.canvas.getBoundingClientRect();
    const [width, height] = [Math.max(200, box.width), Math.max(150, box.height)];
    const ratio = Math.min(2, devicePixelRatio || 1);
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.left = Math.min(48, width * 0.04);
    this.right = width - this.left;
    // As far apart sideways as upwards, whatever the shape of the box.
    this.columns = Math.round(Math.sqrt((this.members.length * (this.right - this.left)) / (height / 2 - MARGIN)));
    if (this.view) this.show(this.view, true);
  }

  /** @param {View} view @param {boolean} [atOnce] without flying there */
  show(view, atOnce = false) {
    this.view = view;
    const { grid, above, below } = places(view, this.columns);
    const step = (this.right - this.left) / this.columns;
    const tallest = Math.max(...above, ...below);
    const room = this.height / 2 - MARGIN;
    const rise = Math.min(step, room / tallest);
    this.radius = Math.max(1.4, Math.min(rise, step) * 0.38);
    this.#stamped();
    this.all.forEach((query, i) => {
      const place = grid[i];
      query.there = Boolean(place);
      if (!place) return;
      query.toX = this.left + (place.column + 0.5) * step;
      const level = place.level + 0.5;
      query.toY = this.height / 2 - level * rise - Math.sign(level) * 5;
      if (atOnce) {
        [query.x, query.y, query.flying] = [query.toX, query.toY, -1];
        return;
      }
      Object.assign(query, { fromX: query.x, fromY: query.y, flying: 0, morph: true, delay: query.lag });
    });
  }

  /** A dot of each kind as a picture: a thousand copies cost less than a thousand circles. */
  #stamped() {
    const ratio = this.canvas.width / Math.max(1, this.width), side = this.radius + 1;
    const kinds = [["others", false], ["ink", true], ["accent", false], ["accent", true]];
    this.stamps = kinds.map(([name, filled]) => {
      const stamp = document.createElement("canvas");
      stamp.width = stamp.height = Math.ceil(2 * side * ratio);
      const c = stamp.getContext("2d");
      c.scale(stamp.width / (2 * side), stamp.width / (2 * side));
      c.fillStyle = c.strokeStyle = this.colour[name];
      c.lineWidth = Math.max(0.8, this.radius * 0.34);
      c.arc(side, side, this.radius - (filled ? 0 : c.lineWidth / 2), 0, 6.2832);
      filled ? c.fill() : c.stroke();
      return stamp;
    });
  }

  /** Moves everything by some seconds; a query that was answered long ago is asked again. */
  step(clock, passed) {
    this.average += (passed - this.average) * 0.05;
    if (this.average > SLOW) this.skip = !this.skip;
    else this.skip = false;
    for (const query of this.all) {
      if (!query.there) continue;
      if (query.flying < 0) {
        query.wait -= passed;
        const tremble = this.view.noise;
        query.x = query.toX + tremble * query.wobble[0] * Math.sin(clock * 2.1 + query.wobble[1] * 9);
        query.y = query.toY + tremble * 0.6 * query.wobble[1] * Math.sin(clock * 1.7 + query.wobble[0] * 9);
        if (query.wait < 0) {
          query.wait = DWELL;
          query.flying = 0;
          query.delay = 0;
          query.morph = false;
          query.fromX = -12;
          query.fromY = this.height * (0.5 + 0.16 * query.wobble[0]);
        }
        continue;
      }
      if (query.delay > 0) { query.delay -= passed; continue; }
      query.flying = Math.min(1, query.flying + passed / (query.morph ? 0.9 : FLIGHT));
      const t = query.flying, ease = t * t * (3 - 2 * t);
      const bow = query.morph ? 0 : Math.sin(Math.PI * t) * 26 * query.wobble[1];
      const shake = query.morph ? 0 : this.view.noise * 5 * (1 - t) * Math.sin(clock * 23 + query.wobble[0] * 40);
      query.x = query.fromX + (query.toX - query.fromX) * ease;
      query.y = query.fromY + (query.toY - query.fromY) * ease + bow + shake;
      if (t >= 1) query.flying = -1;
    }
    if (!this.skip) this.draw();
  }

  draw() {
    const { context: c, width, height } = this;
    c.clearRect(0, 0, width, height);
    c.fillStyle = this.colour["line-strong"];
    c.fillRect(this.left, height / 2 - 0.5, this.right - this.left, 1);
    const side = this.radius + 1;
    this.all.forEach((query, i) => {
      const stamp = this.stamps[(query.member ? 2 : 0) + (this.view.called[i] ? 1 : 0)];
      if (query.there) c.drawImage(stamp, query.x - side, query.y - side, 2 * side, 2 * side);
    });
    c.textBaseline = "alphabetic";
    this.#say("Members", this.left, 16, "left", this.colour.accent, 600);
    this.#say("Others", this.left, height - 6, "left", this.colour.muted, 600);
    this.#say("the attacker says “member” →", this.right, height - 6, "right", this.colour.muted);
  }

  #say(text, x, y, align, colour, weight = 400) {
    const c = this.context;
    c.font = `${weight} ${this.width < 600 ? 12 : 13}px ${this.font}`;
    c.textAlign = align;
    c.fillStyle = colour;
    c.fillText(text, x, y);
  }
}
