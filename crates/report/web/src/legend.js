// What colours, widths and sizes mean.

import { byId, element } from "./dom.js";
import { number } from "./format.js";
import { LEVELS, edgeWidth, levelOf, nodeRadius } from "./scales.js";

/** @typedef {import("./session").Session} Session */

/** @param {Session} session */
export function makeLegend(session) {
  const { store } = session;
  store.subscribe((state, before) => {
    if (state.difference !== before.difference || state.prompt !== before.prompt) fill(session);
  });
  fill(session);
}

/** @param {Session} session */
function fill(session) {
  const { prompt, state } = session;
  const kinds = state.difference
    ? [["only-first", "only in A"], ["only-second", "only in B"], ["positive", "in both, B larger"], ["negative", "in both, B smaller"], ["uncertain", "a value is not in this file"]]
    : [["positive", "positive attribution"], ["negative", "negative"]];
  const edges = kinds.map(([kind, text]) => item(line(kind, 3), text));
  const sizes = [1, 0.25, 0.04].map((share) => rounded(prompt.largest * share));
  const widths = sizes.map((size) => item(line("width", edgeWidth(levelOf(size, prompt.largest))), number(size)));
  const nodes = [1, 0.1, 0.01].map((share) => {
    const importance = rounded(prompt.largestImportance * share);
    return item(dot(nodeRadius(importance, prompt.largestImportance, Infinity, 1)), number(importance));
  });
  const rest = [item(element("span", { className: "mark ghost" }), "ghost"), item(element("span", { className: "mark unjoined" }), "no shown edge")];
  const { far, attributions } = session.metadata;
  const bars = [
    item(element("span", { className: "mark kl" }), `full: ${number(far.kl)} nat or more`),
    item(element("span", { className: "mark kl other" }), "another likeliest token"),
  ];
  const isKnown = !state.difference && prompt.sets.some(({ predicted }) => predicted);
  byId("legend").replaceChildren(
    group(state.difference ? "Differences" : "Edges", edges),
    group(state.difference ? "Size" : "|attribution|", widths),
    group("Importance", nodes),
    group("Nodes", rest),
    ...(isKnown ? [group("KL from the target model", bars)] : []),
    ...(attributions.view === null ? [] : [group("Attributions", [element("span", {}, attributions.view)])]),
  );
}

/**
 * Two digits are enough for a sample.
 * @param {number} value
 */
function rounded(value) {
  return Number(value.toPrecision(2));
}

/**
 * @param {string} title
 * @param {Node[]} items
 */
function group(title, items) {
  return element("div", { className: "group" }, element("span", { className: "legend-title" }, title), ...items);
}

/**
 * @param {Node} mark
 * @param {string} text
 */
function item(mark, text) {
  return element("span", { className: "item" }, mark, text);
}

/**
 * @param {string} kind
 * @param {number} width
 */
function line(kind, width) {
  const made = element("span", { className: `line ${kind}`, "aria-hidden": "true" });
  made.style.borderTopWidth = `${Math.max(1, Math.min(edgeWidth(LEVELS), width))}px`;
  return made;
}

/** @param {number} radius */
function dot(radius) {
  const made = element("span", { className: "mark dot", "aria-hidden": "true" });
  made.style.width = made.style.height = `${Math.max(2, 2 * radius)}px`;
  return made;
}
