// What the model predicts with nothing but the nodes of a set: of all sets at a glance, and of one in full.

import { byId, element, isolated } from "./dom.js";
import { number, percent, plural, visible } from "./format.js";

/** @typedef {import("./session").Session} Session */
/** @typedef {import("./types").SetGraph} SetGraph */
/** @typedef {import("./types").Evaluation} Evaluation */
/** @typedef {import("./types").Selection} Selection */
/** @typedef {import("./types").Measured} Measured */

/** Regimes as heads of narrow columns. */
const SHORT = new Map([["stochastic", "stoch."], ["adversarial", "adv."], ["adversarial, dead at 0", "dead 0"]]);
const ADVERSARIAL = "adversarial";
/** What is drawn at random for a selection, to compare it with. */
const CONTROL = /^random \d+ for (.*)$/s;
const REFUTED = "Less than a tenth of the target model's probability: components that are not in the set can undo what it says.";

/** @param {Session} session */
export function makeEvaluation(session) {
  const { store } = session;
  const names = /** @type {const} */ (["tested", "hiddenSets", "difference", "first", "second", "prompt"]);
  store.subscribe((state, before) => {
    if (names.some((name) => state[name] !== before[name])) fill(session);
  });
  fill(session);
}

/**
 * How a set fares against an adversary, to be shown beside its name; nothing where that is not known.
 * @param {Session} session
 * @param {SetGraph} set
 */
export function testedButton({ store, metadata }, { set, meta }) {
  const worst = meta.evaluation?.selections[0].regimes[metadata.regimes.findIndex(({ name }) => name === ADVERSARIAL)]?.label_prob;
  if (!worst) return [];
  const { is_refuted: refuted } = /** @type {Evaluation} */ (meta.evaluation).selections[0];
  const title = `${meta.evaluation?.line ?? ""}${refuted ? `. ${REFUTED}` : ""}`;
  const button = element("button", { type: "button", className: refuted ? "plain tested refuted" : "plain tested", title }, `adv. p ${shown(worst.text)}`);
  button.addEventListener("click", () => {
    store.update({ tested: set });
    byId("evaluation-choice").open = true;
    byId("evaluation").scrollIntoView({ block: "nearest" });
  });
  return [button];
}

/** @param {Session} session */
function fill(session) {
  const sets = session.sets();
  const tested = sets.filter(({ meta }) => meta.evaluation);
  const problems = sets.flatMap(({ meta }) => (meta.evaluation_problem === null ? [] : [element("p", { className: "note" },
    isolated(visible(meta.name)), `: the evaluation in its metadata is not understood: ${visible(meta.evaluation_problem)}`)]));
  byId("evaluation-choice").hidden = tested.length === 0 && problems.length === 0;
  const chosen = tested.find(({ set }) => set === session.state.tested) ?? tested[0];
  const parts = [];
  if (chosen) {
    if (tested.length > 1) parts.push(overview(session, tested, chosen));
    parts.push(...inFull(session, chosen));
  }
  byId("evaluation").replaceChildren(...parts, ...problems);
}

/**
 * The probability of the label in every set and regime.
 * @param {Session} session
 * @param {SetGraph[]} sets
 * @param {SetGraph} chosen
 */
function overview(session, sets, chosen) {
  const rows = sets.map((set) => {
    const { selections } = /** @type {Evaluation} */ (set.meta.evaluation);
    const button = element("button", { type: "button", className: "plain set-name", "aria-pressed": String(set === chosen) }, isolated(visible(set.meta.name)));
    button.addEventListener("click", () => session.store.update({ tested: set.set }));
    return element("tr", {}, element("th", { scope: "row" }, button), ...probabilities(session, selections[0], 0));
  });
  return element("div", { className: "scroll" },
    element("table", { className: "tested-sets" }, element("tr", {}, element("th", { scope: "col" }, "p(label)"), ...heads(session, 0)), ...rows));
}

/**
 * @param {Session} session
 * @param {SetGraph} set
 */
function inFull(session, { meta }) {
  const evaluation = /** @type {Evaluation} */ (meta.evaluation);
  const { selections, label, position, mask_by_ci: byCi, selections_left_out: leftOut } = evaluation;
  const [whole, ...others] = selections;
  const of = label === null ? ["of the label"] : ["of \u201c", isolated(visible(label)), "\u201d"];
  const after = position === null ? [] : [` after \u201c${visible(session.prompt.tokens[position] ?? "")}\u201d @${position}`];
  const kept = whole.nodes === null ? "its nodes" : `its ${plural(whole.nodes, "node")}`;
  const parts = [
    element("h3", {}, isolated(visible(meta.name))),
    element("p", { className: "note" }, "The probability ", ...of, ...after, ` with nothing but ${kept}${byCi ? ", masked by their causal importance" : ""}.`),
    regimeTable(session, evaluation, whole),
  ];
  if (whole.is_refuted) parts.push(element("p", { className: "warning" }, REFUTED));
  if (others.length > 0) parts.push(selectionTable(session, selections));
  if (leftOut > 0) parts.push(element("p", { className: "note" }, `${plural(leftOut, "further selection")} not in this file.`));
  return parts;
}

/**
 * @param {Session} session
 * @param {Evaluation} evaluation
 * @param {Selection} whole
 */
function regimeTable({ metadata }, { adversary }, whole) {
  const columns = ["", "p(label)", "KL", "most probable"].map((name) => element("th", { scope: "col" }, name));
  const rows = metadata.regimes.flatMap(({ name, means }, place) => {
    const found = whole.regimes[place];
    if (!found) return [];
    const { label_prob: prob, kl, kl_mean: mean, top } = found;
    const steps = adversary && name.startsWith(ADVERSARIAL) ? ` It takes ${plural(adversary[0], "step")} of ${number(adversary[1])}.` : "";
    const refuted = name === ADVERSARIAL && whole.is_refuted;
    const least = prob?.least ? [element("div", { className: "least" }, `least ${shown(prob.least)}${prob.draws === null ? "" : ` of ${prob.draws}`}`)] : [];
    const likely = top.slice(0, 3).map(([token, share]) => element("div", {}, isolated(visible(token)), ` ${percent(share)}`));
    return [element("tr", {},
      element("th", { scope: "row", title: means + steps }, name),
      element("td", { className: refuted ? "refuted" : "" }, prob ? shown(prob.text) : "\u2013", ...(prob ? [bar(prob)] : []), ...least),
      element("td", { title: mean ? `mean over all positions: ${shown(mean.text)}` : "" }, kl ? shown(kl.text) : "\u2013"),
      element("td", { className: "top" }, ...likely))];
  });
  return element("div", { className: "scroll" }, element("table", { className: "regimes" }, element("tr", {}, ...columns), ...rows));
}

/**
 * What was chosen of a set, beside all of it; controls of one selection are one row.
 * @param {Session} session
 * @param {Selection[]} selections
 */
function selectionTable(session, selections) {
  /** @type {Map<string, Selection[]>} */
  const rows = new Map();
  for (const selection of selections) {
    const control = selection.name.match(CONTROL);
    const name = control ? `random for ${control[1]}` : selection.name;
    rows.set(name, [...(control ? (rows.get(name) ?? []) : []), selection]);
  }
  const body = [...rows].map(([name, alike]) => element("tr", {},
    element("th", { scope: "row" }, isolated(visible(name)), ...(alike.length > 1 ? [` \u00d7${alike.length}`] : [])),
    element("td", {}, alike[0].nodes === null ? "\u2013" : String(alike[0].nodes)),
    ...(alike.length > 1 ? means(session, alike) : probabilities(session, alike[0], 1))));
  const columns = ["kept", "nodes"].map((name) => element("th", { scope: "col" }, name));
  return element("div", { className: "scroll" }, element("table", { className: "selections" }, element("tr", {}, ...columns, ...heads(session, 1)), ...body));
}

/**
 * @param {Session} session
 * @param {number} from the first regime that is shown
 */
function heads({ metadata }, from) {
  return metadata.regimes.slice(from).map(({ name, means }) => element("th", { scope: "col", title: `${name}: ${means}` }, SHORT.get(name) ?? name));
}

/**
 * @param {Session} session
 * @param {Selection} selection
 * @param {number} from
 */
function probabilities({ metadata }, selection, from) {
  return metadata.regimes.slice(from).map(({ name }, place) => {
    const prob = selection.regimes[from + place]?.label_prob;
    if (!prob) return element("td", {}, "\u2013");
    const least = prob.least === null ? "" : `, least ${shown(prob.least)}`;
    const className = name === ADVERSARIAL && selection.is_refuted ? "refuted" : "";
    return element("td", { className, title: shown(prob.text) + least }, shown(prob.text.split(" ")[0]), bar(prob));
  });
}

/**
 * Of selections that are alike, the mean over them.
 * @param {Session} session
 * @param {Selection[]} alike
 */
function means({ metadata }, alike) {
  return metadata.regimes.slice(1).map((_, place) => {
    const found = alike.flatMap(({ regimes }) => regimes[1 + place]?.label_prob?.mean ?? []);
    if (found.length === 0) return element("td", {}, "\u2013");
    const mean = found.reduce((sum, value) => sum + value, 0) / found.length;
    const short = (/** @type {number} */ value) => number(Number(value.toPrecision(2)));
    return element("td", { title: `from ${short(Math.min(...found))} to ${short(Math.max(...found))}` }, short(mean), bar({ mean }));
  });
}

/** @param {{ mean: number }} measured */
function bar({ mean }) {
  const part = element("span", {});
  part.style.width = `${100 * Math.min(1, Math.max(0, mean))}%`;
  return element("div", { className: "share", "aria-hidden": "true" }, part);
}

/**
 * A number as it came, with a minus that is one.
 * @param {string} text
 */
function shown(text) {
  return text.replaceAll("-", "\u2212");
}
