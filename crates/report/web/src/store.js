// What is being looked at, and who wants to know when that changes.

/** @typedef {import("./types").State} State */

/**
 * @param {State} state
 * @returns {import("./types").Store}
 */
export function createStore(state) {
  /** @type {((state: State, before: State) => void)[]} */
  const listeners = [];
  return {
    get state() {
      return state;
    },
    update(patch) {
      const before = state;
      const changed = Object.entries(patch).some(([name, value]) => /** @type {any} */ (before)[name] !== value);
      if (!changed) return;
      state = { ...before, ...patch };
      for (const listener of listeners) listener(state, before);
    },
    subscribe(listener) {
      listeners.push(listener);
    },
  };
}

/** @type {import("./types").View} */
export const WHOLE = { zoom: 1, x: 0, y: 0 };

/** Edges of each set that are drawn at first: enough to see where the strong ones run, few enough to see each. */
export const FIRST_TOP = 300;

/**
 * @param {number} sets how many the first prompt has
 * @returns {State}
 */
export function initialState(sets) {
  return {
    prompt: 0,
    difference: false,
    first: 0,
    second: Math.min(1, sets - 1),
    enlarged: null,
    hiddenSets: new Set(),
    hiddenLayers: new Set(),
    least: 0,
    top: FIRST_TOP,
    ghosts: true,
    unjoined: true,
    every: true,
    tested: null,
    selected: null,
    hovered: null,
    matches: [],
    theme: "auto",
    view: WHOLE,
  };
}
