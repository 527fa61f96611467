/** Elements, numbers as text, and controls; nothing here knows what the page is about. */

/** Elements by id; a missing one is a bug. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

/**
 * An element with attributes and children; text is never read as markup.
 * @param {string} name
 * @param {Record<string, unknown>} attributes `on...`: listeners; null and false are left out
 * @param {...(Node | string | null)} children
 */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const MINUS = "\u2212";

/** A number with fixed decimals and a true minus sign. */
export function fixed(value, decimals = 3, sign = false) {
  const text = Math.abs(value).toFixed(decimals);
  if (value < 0 && Number(text) !== 0) return MINUS + text;
  return (sign ? "+" : "") + text;
}

/** A number with significant digits, without an exponent. */
export function digits(value, significant = 3) {
  if (value === 0) return "0";
  const places = significant - 1 - Math.floor(Math.log10(Math.abs(value)));
  return fixed(value, Math.min(6, Math.max(0, places)));
}

/** A share as percent. */
export function percent(value, decimals = 1) {
  return `${fixed(100 * value, decimals)}%`;
}

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

let named = 0;

/**
 * Choices of which one holds, as radio buttons in a fieldset that is there.
 * @param {HTMLElement} fieldset
 * @param {{ value: string, text: string, disabled?: boolean, title?: string }[]} choices
 * @param {string} chosen
 * @param {(value: string) => void} changed
 * @param {number} [first] choices that are shown before a button "More" is pressed
 * @returns {{ value: string, set(choices: object[], chosen: string): void }}
 */
export function segments(fieldset, choices, chosen, changed, first = Infinity) {
  const name = `choice-${(named += 1)}`;
  const box = el("div");
  fieldset.append(box);
  const control = {
    value: chosen,
    set(offered, value) {
      control.value = value;
      const rest = offered.length - first;
      const more = rest > 0 && el("button", {
        type: "button", class: "quiet", onclick: () => {
          first = Infinity;
          control.set(offered, control.value);
          box.querySelectorAll("input")[offered.length - rest].focus();
        },
      }, `${rest} more`);
      box.replaceChildren(
        ...offered.slice(0, first).map((choice) =>
          el("label", { title: choice.title },
            el("input", {
              type: "radio", name, value: choice.value, checked: choice.value === value, disabled: choice.disabled,
              onchange: () => { control.value = choice.value; changed(choice.value); },
            }),
            el("span", {}, choice.text))),
        ...(more ? [more] : []),
      );
    },
  };
  control.set(choices, chosen);
  return control;
}

/**
 * A slider with its value beside the label.
 * @param {{ label: string, min: number, max: number, step: number, value: number, show(value: number): string, id?: string }} about
 * @param {(value: number) => void} changed
 */
export function slider(about, changed) {
  const id = about.id ?? `slider-${(named += 1)}`;
  const output = el("output", { for: id });
  const input = el("input", { type: "range", id, min: about.min, max: about.max, step: about.step, value: about.value });
  const show = () => {
    const text = about.show(Number(input.value));
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", () => { show(); changed(Number(input.value)); });
  show();
  return {
    parts: [el("label", { for: id }, about.label), output, input],
    input,
    get value() { return Number(input.value); },
    set(value) { input.value = String(value); show(); },
  };
}

/** Copies text; says in `said` that it did, or that the browser would not let it. */
export async function copy(text, said, what) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = `${what} copied.`;
  } catch {
    said.textContent = "The browser did not allow it; select the text and copy it.";
  }
}

/**
 * Calls `frame(seconds since start, seconds since last)` while the element can be seen, the page is
 * not hidden, and it is not paused; never where motion is to be reduced.
 */
export function animate(element, frame) {
  let visible = false, paused = false, request = 0, last = 0, clock = 0;
  const tick = (now) => {
    request = 0;
    const passed = last ? Math.min(0.1, (now - last) / 1000) : 0;
    last = now;
    clock += passed;
    frame(clock, passed);
    ask();
  };
  const ask = () => {
    const run = visible && !paused && !still() && !document.hidden;
    if (run && !request) request = requestAnimationFrame(tick);
    if (!run) last = 0;
  };
  new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; ask(); }).observe(element);
  document.addEventListener("visibilitychange", ask);
  matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", ask);
  return { pause(now) { paused = now; ask(); }, get paused() { return paused; } };
}
