// Which sets are shown, and what came with them.

import { curveTable } from "./curve.js";
import { byId, element, isolated } from "./dom.js";
import { testedButton } from "./evaluation.js";
import { plural, visible } from "./format.js";

/** @typedef {import("./session").Session} Session */

/** @param {Session} session */
export function makeSetList(session) {
  const { store } = session;
  const fill = () => {
    byId("sets").replaceChildren(...session.prompt.sets.map((set) => item(session, set)));
    byId("set-count").textContent = `${session.prompt.sets.length - store.state.hiddenSets.size} of ${session.prompt.sets.length}`;
  };
  store.subscribe((state, before) => {
    if (state.prompt !== before.prompt || state.hiddenSets !== before.hiddenSets) fill();
  });
  fill();
}

/**
 * @param {Session} session
 * @param {import("./types").SetGraph} graph
 */
function item(session, graph) {
  const { store } = session;
  const { set, meta } = graph;
  const box = element("input", { type: "checkbox", checked: !store.state.hiddenSets.has(set) });
  box.addEventListener("change", () => {
    const hidden = new Set(store.state.hiddenSets);
    if (!hidden.delete(set)) hidden.add(set);
    store.update({ hiddenSets: hidden });
    // The list was made anew; the keyboard stays where it was.
    /** @type {HTMLInputElement[]} */ ([...byId("sets").querySelectorAll("input")])[set]?.focus();
  });
  const counts = `${plural(meta.nodes, "node")}, ${plural(meta.ghosts, "ghost")}, ${plural(meta.edges, "edge")}`;
  const label = element("label", {}, box, element("span", { className: "set-name" }, isolated(visible(meta.name))), element("span", { className: "counts" }, counts));
  const row = element("li", {}, label, ...testedButton(session, graph));
  if (meta.curve !== null) row.append(curveTable(meta.curve));
  if (meta.metadata_left_out !== null) {
    row.append(element("p", { className: "note" }, `Its metadata (${plural(meta.metadata_left_out, "byte")}) are not in this file.`));
  } else if (meta.metadata !== null && JSON.stringify(meta.metadata) !== "{}") {
    row.append(element("details", {}, element("summary", {}, "metadata"), element("pre", {}, JSON.stringify(meta.metadata, null, 1))));
  }
  return row;
}
