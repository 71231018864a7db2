// The pane about the selected node.

import { byId, element, isolated } from "./dom.js";
import { count, number, percent, plural, signed, visible } from "./format.js";
import { isShown, passes } from "./filter.js";
import { neighbours, notHere } from "./neighbours.js";
import { agrees } from "./prediction.js";
import { ABSENT, ALIVE, GHOST } from "./prompt.js";

/** @typedef {import("./session").Session} Session */
/** @typedef {import("./types").SetGraph} SetGraph */

/** Edges that are listed at first, and with every wish for more. */
const LISTED = 10;
/** @type {Record<number, string>} */
const STATES = { [ABSENT]: "not alive", [ALIVE]: "alive", [GHOST]: "ghost" };

/** @param {Session} session */
export function makeDetails(session) {
  const { store } = session;
  const listed = { incoming: LISTED, outgoing: LISTED };
  const show = () => fill(session, listed, show);
  store.subscribe((state, before) => {
    const fresh = state.selected !== before.selected;
    if (fresh) listed.incoming = listed.outgoing = LISTED;
    const names = /** @type {const} */ (["selected", "hiddenSets", "difference", "first", "second", "prompt", "least", "top", "hiddenLayers"]);
    if (names.some((name) => state[name] !== before[name])) show();
    if (fresh) byId("details").scrollTop = 0;
  });
  show();
}

/**
 * @param {Session} session
 * @param {{ incoming: number, outgoing: number }} listed
 * @param {() => void} again
 */
function fill(session, listed, again) {
  const { selected } = session.state;
  const pane = byId("details");
  const jump = byId("jump");
  jump.hidden = selected === null;
  if (selected === null) {
    pane.replaceChildren(element("p", { className: "note" }, "Click a node, or move between nodes with the arrow keys, to see its numbers and its edges in every set."));
    byId("announcement").textContent = "No node is selected.";
    return;
  }
  const sets = session.sets();
  jump.textContent = `${session.name(selected)} \u00b7 ${session.place(selected)} \u2193`;
  byId("announcement").textContent = announcement(session, sets, selected);
  pane.replaceChildren(
    identity(session, selected),
    numbersTable(sets, selected, session.layerOf(selected).kind),
    ...predictions(session, sets, selected),
    ...["incoming", "outgoing"].map((direction) =>
      edgeTable(session, sets, selected, /** @type {"incoming" | "outgoing"} */ (direction), listed, again)),
  );
}

/**
 * @param {Session} session
 * @param {SetGraph[]} sets
 * @param {number} entry
 */
function announcement(session, sets, entry) {
  const alive = sets.filter(({ state }) => state[entry] === ALIVE).length;
  const edges = session.pictures().map((picture) => session.highlighted(picture).length);
  return `${session.name(entry)} at ${session.place(entry)}, alive in ${alive} of ${plural(sets.length, "set")}; edges shown: ${edges.join(", ")}.`;
}

/**
 * @param {Session} session
 * @param {number} entry
 */
function identity(session, entry) {
  const { position, component } = session.prompt.entries;
  const layer = session.layerOf(entry);
  const token = session.prompt.tokens[position[entry]];
  /** @type {[string, (Node | string)[]][]} */
  const rows = [
    ["layer", [element("span", { className: `swatch ${layer.kind}` }), layer.name]],
    ["position", [String(position[entry])]],
    ["token", [isolated(visible(token))]],
  ];
  if (layer.kind === "output") rows.push(["output token", [isolated(visible(session.token(entry))), ` (id ${component[entry]})`]]);
  else if (layer.kind !== "wte") rows.push(["component", [String(component[entry])]]);
  return element("dl", { className: "identity" },
    ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, ...value)]));
}

/**
 * @param {SetGraph[]} sets
 * @param {number} entry
 * @param {string} kind
 */
function numbersTable(sets, entry, kind) {
  /** @type {[string, (set: SetGraph) => string][]} */
  const columns = [];
  if (kind === "output") {
    columns.push(["probability", (set) => number(set.probability[entry])]);
    const isKnown = sets.some(({ targetProbability }) => !Number.isNaN(targetProbability[entry]));
    if (isKnown) columns.push(["target", ({ targetProbability }) => (Number.isNaN(targetProbability[entry]) ? "\u2013" : number(targetProbability[entry]))]);
    columns.push(["logit", (set) => number(set.activation[entry])]);
  }
  else if (kind !== "wte") columns.push(["CI", (set) => number(set.ci[entry])], ["activation", (set) => number(set.activation[entry])]);
  columns.push(["importance", (set) => number(set.importance[entry])], ["in", (set) => count(set.incoming[entry])], ["out", (set) => count(set.outgoing[entry])]);
  const head = element("tr", {}, element("th", { scope: "col" }, "set"), ...columns.map(([name]) => element("th", { scope: "col" }, name)));
  const body = sets.map((set) => {
    const cells =
      set.state[entry] === ALIVE
        ? columns.map(([, value]) => element("td", {}, value(set)))
        : [element("td", { colSpan: columns.length, className: "state" }, STATES[set.state[entry]])];
    return element("tr", {}, element("th", { scope: "row" }, isolated(visible(set.meta.name))), ...cells);
  });
  return element("div", { className: "scroll" }, element("table", { className: "numbers" }, head, ...body));
}

/**
 * What the target model and every set's masked model say comes next at the position of an entry, where that is known.
 * @param {Session} session
 * @param {SetGraph[]} sets
 * @param {number} entry
 */
function predictions(session, sets, entry) {
  const { prompt } = session;
  const position = prompt.entries.position[entry];
  const target = prompt.targetLikeliest[position] ?? [];
  const known = sets.flatMap((set) => (set.predicted ? [{ set, predicted: set.predicted }] : []));
  if (target.length === 0 || known.length === 0) return [];
  const token = (/** @type {number} */ id) => isolated(visible(session.outputToken(id)));
  const said = target.flatMap(([id, share], place) => [place > 0 ? ", " : "", token(id), ` ${percent(share)}`]);
  const heads = ["set", "KL", "likeliest"].map((name) => element("th", { scope: "col" }, name));
  const rows = known.map(({ set, predicted }) => {
    const className = agrees(prompt, predicted, position) ? "token" : "token warning";
    return element("tr", {},
      element("th", { scope: "row" }, isolated(visible(set.meta.name))),
      element("td", {}, number(predicted.kl[position])),
      element("td", { className }, token(predicted.likeliest[position])));
  });
  return [element("section", { className: "predictions" },
    element("h3", {}, `Next token after ${session.place(entry)}`),
    element("p", { className: "note" }, "Target model: ", ...said),
    element("div", { className: "scroll" }, element("table", { className: "numbers" }, element("tr", {}, ...heads), ...rows)))];
}

/**
 * @param {Session} session
 * @param {SetGraph[]} sets
 * @param {number} entry
 * @param {"incoming" | "outgoing"} direction
 * @param {{ incoming: number, outgoing: number }} listed
 * @param {() => void} again
 */
function edgeTable(session, sets, entry, direction, listed, again) {
  const all = neighbours(sets, entry, direction);
  const title = direction === "incoming" ? "Strongest edges in" : "Strongest edges out";
  const section = element("section", { className: "edges" }, element("h3", {}, title));
  if (all.length === 0) {
    section.append(element("p", { className: "note" }, "None in this file."));
    return section;
  }
  const { difference } = session.state;
  const heads = sets.map((set) => element("th", { scope: "col" }, isolated(visible(set.meta.name))));
  if (difference) heads.push(element("th", { scope: "col" }, "B \u2212 A"));
  const head = element("tr", {}, element("th", { scope: "col" }, direction === "incoming" ? "from" : "to"), ...heads);
  const rows = all.slice(0, listed[direction]).map((row) => {
    const cells = row.values.map((value, column) => valueCell(session, sets[column], value, row.ids[column]));
    if (difference) cells.push(differenceCell(row.values));
    return element("tr", {}, element("th", { scope: "row" }, nodeButton(session, row.entry, entry)), ...cells);
  });
  section.append(element("div", { className: "scroll" }, element("table", { className: "neighbours" }, head, ...rows)));
  if (all.length > listed[direction]) {
    const more = element("button", { type: "button", className: "more" }, `More (${count(all.length - listed[direction])})`);
    more.addEventListener("click", () => {
      listed[direction] *= 4;
      again();
    });
    section.append(more);
  }
  return section;
}

/**
 * A node to select. Its position is left out where it is that of another node that is named beside it.
 * @param {Session} session
 * @param {number} entry
 * @param {number} [beside]
 */
export function nodeButton(session, entry, beside) {
  const { store } = session;
  const { position } = session.prompt.entries;
  const known = beside !== undefined && position[beside] === position[entry];
  const place = known ? [] : [element("span", { className: "place" }, isolated(session.place(entry)))];
  const button = element("button", { type: "button", className: "node" },
    element("span", { className: `swatch ${session.layerOf(entry).kind}` }),
    isolated(session.name(entry)), ...place);
  button.addEventListener("click", () => store.update({ selected: entry, hovered: null }));
  button.addEventListener("pointerenter", () => store.update({ hovered: entry }));
  button.addEventListener("pointerleave", () => store.update({ hovered: null }));
  return button;
}

/**
 * @param {Session} session
 * @param {SetGraph} set
 * @param {number | string} value
 * @param {number | null} id
 */
function valueCell(session, set, value, id) {
  if (value === "none") return element("td", { className: "none", title: "no such edge: an end is not alive in this set" }, "\u2013");
  if (value === "not-here") return element("td", { className: "none", title: notHere(set, number) }, bound(set));
  const shown = id !== null && passes(set.edges, id, session.prompt.entries, session.state.hiddenLayers) && isShown(session.shown(set), id);
  const title = shown ? "" : "not among the edges shown in the picture";
  return element("td", { className: `${sign(Number(value))}${shown ? "" : " unshown"}`, title }, signed(Number(value)));
}

/** @param {SetGraph} set */
function bound({ meta }) {
  return meta.left_out > 0 && meta.not_finite === 0 ? `\u2264${number(meta.largest_left_out)}` : "?";
}

/** @param {(number | string)[]} values */
function differenceCell([before, after]) {
  if (before === "not-here" || after === "not-here") return element("td", { className: "none", title: "one value is not in this file" }, "?");
  const change = (after === "none" ? 0 : Number(after)) - (before === "none" ? 0 : Number(before));
  return element("td", { className: sign(change) }, signed(change));
}

/** @param {number} value */
function sign(value) {
  return value > 0 ? "positive" : value < 0 ? "negative" : "none";
}
