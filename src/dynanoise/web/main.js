/** Starts every section; one that fails says so and leaves the others alone. */

import { start as attacker } from "./attacker.js";
import { start as audit } from "./audit.js";
import { load } from "./data.js";
import { byId } from "./dom.js";
import { start as method } from "./method.js";
import { start as overview } from "./overview.js";
import { start as results } from "./results.js";
import { start as budget } from "./budget.js";
import { start as simulator } from "./simulator.js";
import { facts, start as source } from "./source.js";
import { start as text } from "./text.js";

const trouble = byId("trouble");

// Sections grow while the page starts, so what an address asks for is no longer where it was; who
// has begun to read stays where they are.
let reads = performance.getEntriesByType("navigation")[0]?.type !== "navigate";
for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"]) {
  addEventListener(kind, () => { reads = true; }, { once: true, passive: true });
}

try {
  const data = await load();
  for (const start of [source, facts, text, overview, method, simulator, attacker, budget, results, audit]) {
    // A frame between them, so that the page can be used while it starts.
    await new Promise((done) => setTimeout(done));
    start(data);
  }
  trouble.remove();
  const target = document.getElementById(location.hash.slice(1));
  // Charts that see their size for the first time still move what is below them.
  for (let frame = 0; target && frame < 3; frame++) {
    if (!reads) target.scrollIntoView({ behavior: "instant" });
    await new Promise((done) => setTimeout(done, 40));
  }
  document.documentElement.dataset.ready = "";
} catch (error) {
  trouble.hidden = false;
  trouble.textContent = `The page could not start: ${error.message}. Serve its files unchanged, as \`dynanoise demo\` does.`;
  throw error;
}

// Which section is being read.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-30% 0px -60% 0px" });
for (const id of links.keys()) reading.observe(byId(id));
