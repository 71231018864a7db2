// What changes from one set to another.

import { NEGATIVE, ONLY_FIRST, ONLY_SECOND, POSITIVE, edgeList } from "./edges.js";
import { ABSENT, ALIVE, ALIVE_FIRST, ALIVE_SECOND, GHOST } from "./prompt.js";

/** @typedef {import("./types").SetGraph} SetGraph */
/** @typedef {import("./types").Difference} Difference */

/**
 * The difference `second - first` of every edge that is in the page for one of them, an edge that does not exist counting
 * as 0.
 *
 * An edge between two nodes that are alive in a set exists there. If it is not in the page, it is zero, or it was left out
 * as too weak or as not finite, and then its value is not known here: such differences are marked as uncertain.
 * @param {SetGraph} first
 * @param {SetGraph} second
 * @returns {Difference}
 */
export function difference(first, second) {
  const entries = first.state.length;
  const places = placesOf(second, entries);
  /** @type {{ source: number, target: number, before: number, after: number, kind: number, uncertain: boolean }[]} */
  const found = [];
  const seen = new Uint8Array(second.edges.value.length);
  let unchanged = 0;
  first.edges.value.forEach((before, id) => {
    const [source, target] = [first.edges.source[id], first.edges.target[id]];
    const place = places.get(source * entries + target);
    if (place === undefined) {
      found.push(oneSided(second, source, target, before, true));
      return;
    }
    seen[place] = 1;
    const after = second.edges.value[place];
    if (after === before) unchanged++;
    else found.push({ source, target, before, after, kind: bySign(after - before), uncertain: false });
  });
  second.edges.value.forEach((after, id) => {
    if (!seen[id]) found.push(oneSided(first, second.edges.source[id], second.edges.target[id], after, false));
  });
  const size = (/** @type {{ before: number, after: number }} */ { before, after }) => Math.abs((after || 0) - (before || 0));
  found.sort((a, b) => size(b) - size(a) || a.source - b.source || a.target - b.target);
  const edges = edgeList(
    Uint32Array.from(found, (edge) => edge.source),
    Uint32Array.from(found, (edge) => edge.target),
    Float64Array.from(found, (edge) => (edge.after || 0) - (edge.before || 0)),
    entries,
    Uint8Array.from(found, (edge) => edge.kind),
  );
  return {
    key: "difference",
    set: null,
    first,
    second,
    edges,
    before: Float64Array.from(found, (edge) => edge.before),
    after: Float64Array.from(found, (edge) => edge.after),
    uncertain: Uint8Array.from(found, (edge) => Number(edge.uncertain)),
    unchanged,
    state: stateOf(first, second),
    importance: first.importance.map((number, entry) => Math.max(number, second.importance[entry])),
    // A difference is of two probabilities; each set's own picture has what the target model says of them.
    targetProbability: new Float32Array(entries).fill(NaN),
    far: new Uint8Array(entries),
    probability: first.probability.map((number, entry) => (Number.isNaN(number) ? second.probability[entry] : number)),
  };
}

/**
 * Ids of edges by their ends.
 * @param {SetGraph} set
 * @param {number} entries
 */
function placesOf({ edges }, entries) {
  /** @type {Map<number, number>} */
  const places = new Map();
  edges.source.forEach((source, id) => places.set(source * entries + edges.target[id], id));
  return places;
}

/**
 * An edge that the page has of one set only.
 * @param {SetGraph} other the set that the page does not have it of
 * @param {number} source
 * @param {number} target
 * @param {number} value
 * @param {boolean} isFirst whether `value` is the first set's
 */
function oneSided(other, source, target, value, isFirst) {
  const exists = other.state[source] === ALIVE && other.state[target] === ALIVE;
  if (!exists) {
    const kind = isFirst ? ONLY_FIRST : ONLY_SECOND;
    return { source, target, before: isFirst ? value : NaN, after: isFirst ? NaN : value, kind, uncertain: false };
  }
  const uncertain = other.meta.left_out > 0 || other.meta.not_finite > 0;
  const missing = uncertain ? NaN : 0;
  const kind = bySign(isFirst ? -value : value);
  return { source, target, before: isFirst ? value : missing, after: isFirst ? missing : value, kind, uncertain };
}

/** @param {number} value */
function bySign(value) {
  return value < 0 ? NEGATIVE : POSITIVE;
}

/**
 * @param {SetGraph} first
 * @param {SetGraph} second
 */
function stateOf(first, second) {
  return first.state.map((a, entry) => {
    const b = second.state[entry];
    if (a === ALIVE && b === ALIVE) return ALIVE;
    if (a === ALIVE) return ALIVE_FIRST;
    if (b === ALIVE) return ALIVE_SECOND;
    return a === GHOST || b === GHOST ? GHOST : ABSENT;
  });
}
