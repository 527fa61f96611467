// Names the theme's copy buttons for screen readers, and lets wide tables be scrolled by keyboard.
// Both are made by the theme's own script, after the page is there.
const mend = () => {
  for (const nav of document.querySelectorAll(".md-code__nav:not([aria-label])")) {
    nav.setAttribute("aria-label", `Actions of code block ${Number(nav.parentElement.id.replace(/\D/g, "")) + 1}`);
  }
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) table.tabIndex = 0;
};
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
mend();
