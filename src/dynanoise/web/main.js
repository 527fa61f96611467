/** Starts every section; one that fails says so and leaves the others alone. */

import { start as adapt } from "./adapt.js";
import { start as attacker } from "./attacker.js";
import { start as audit } from "./audit.js";
import { load } from "./data.js";
import { start as dilemma } from "./dilemma.js";
import { byId } from "./dom.js";
import { start as guess } from "./guess.js";
import { start as method } from "./method.js";
import { start as overview } from "./overview.js";
import { start as results } from "./results.js";
import { start as simulator } from "./simulator.js";
import { facts, start as source } from "./source.js";
import { start as text } from "./text.js";

const trouble = byId("trouble");

// Sections grow while the page starts, so the place of an address, or of the page before it was
// reloaded, moves; a reader who has begun to scroll is left alone.
const opened = performance.getEntriesByType("navigation")[0]?.type === "navigate";
const place = opened ? undefined : history.state?.place;
let reads = false;
for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"]) {
  addEventListener(kind, () => { reads = true; }, { once: true, passive: true });
}

try {
  const data = await load();
  for (const start of [source, facts, text, overview, dilemma, method, attacker, adapt, guess, simulator, results, audit]) {
    // A frame between them, so that the page can be used while it starts.
    await new Promise((done) => setTimeout(done));
    start(data);
  }
  trouble.remove();
  const target = opened ? document.getElementById(location.hash.slice(1)) : null;
  // Charts that see their size for the first time still move what is below them.
  for (let frame = 0; frame < 3 && (target || place !== undefined); frame++) {
    if (!reads) target ? target.scrollIntoView({ behavior: "instant" }) : scrollTo({ top: place, behavior: "instant" });
    await new Promise((done) => setTimeout(done, 40));
  }
  addEventListener("scroll", remember, { passive: true });
  document.documentElement.dataset.ready = "";
} catch (error) {
  trouble.hidden = false;
  trouble.textContent = `The page could not start: ${error.message}. Serve its files unchanged, as \`dynanoise demo\` does.`;
  throw error;
}

/** Notes the place for a reload, when the page has come to rest. */
function remember() {
  clearTimeout(remember.timer);
  remember.timer = setTimeout(() => history.replaceState({ ...history.state, place: scrollY }, ""), 150);
}

// Which section is being read.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    const link = links.get(target.id), bar = link.closest("nav");
    link.setAttribute("aria-current", "true");
    // On a small screen the bar is wider than its place: the section that is read stays in view.
    bar.scrollTo({ left: link.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2, behavior: "instant" });
  }
}, { rootMargin: "-30% 0px -60% 0px" });
for (const id of links.keys()) reading.observe(byId(id));
