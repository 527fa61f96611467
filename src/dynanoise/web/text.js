/** The paper to cite, and where the code and the documentation are. */

import { byId, copy, el } from "./dom.js";

export function start(data) {
  onPaper(byId("faq"));
  const { authors, affiliation, title, journal, year, arxiv, url, code, docs, bibtex } = data.citation;
  byId("cite-text").replaceChildren(
    `${authors.join(" and ")} (${affiliation}). `, el("i", {}, title), `. ${journal}, ${year}. `,
    el("a", { href: url, rel: "noreferrer" }, `arXiv:${arxiv}`), ".",
  );
  byId("cite-bibtex").textContent = bibtex;
  // Published code and documentation; without them the buttons lead to where a clone has both.
  if (code) byId("door-code").href = code;
  if (docs) byId("door-docs").href = docs;
  byId("cite-copy").addEventListener("click", () => copy(bibtex, byId("cite-said"), "BibTeX was"));
}

/** Opens every question while the page is printed. */
function onPaper(faq) {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...faq.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
}
