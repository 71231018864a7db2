// The data of one prompt, decoded when it is first shown.

import { takeBlock } from "./decode.js";
import { edgeList } from "./edges.js";

/** @typedef {import("./types").Metadata} Metadata */
/** @typedef {import("./types").Prompt} Prompt */
/** @typedef {import("./types").SetGraph} SetGraph */

/** What an entry is in a picture. */
export const ABSENT = 0;
export const ALIVE = 1;
export const GHOST = 2;
/** In a difference: alive in one of the two only. */
export const ALIVE_FIRST = 3;
export const ALIVE_SECOND = 4;

/** @returns {Metadata} */
export function takeMetadata() {
  const holder = document.getElementById("metadata");
  return JSON.parse(holder?.textContent ?? "null");
}

/**
 * @param {Metadata} metadata
 * @param {number} number
 * @returns {Promise<Prompt>}
 */
export async function takePrompt(metadata, number) {
  const { text, token_strings: tokens, target_likeliest: targetLikeliest, columns, sets: metas } = metadata.prompts[number];
  const id = `prompt-${number}`;
  const { layer, position, component } = await takeBlock(id, columns);
  const entries = { count: layer.length, layer, position, component };
  const blocks = await Promise.all(metas.map((meta, place) => takeBlock(`${id}-set-${place}`, meta.columns)));
  const sets = blocks.map((block, place) => setGraph(block, metas[place], place, entries.count));
  let [largest, smallest, largestImportance] = [0, Infinity, 0];
  for (const { edges, importance } of sets) {
    const { value } = edges;
    if (value.length) {
      largest = Math.max(largest, Math.abs(value[0]));
      smallest = Math.min(smallest, Math.abs(value[value.length - 1]));
    }
    for (const number of importance) largestImportance = Math.max(largestImportance, number);
  }
  return { number, text, tokens, targetLikeliest, entries, sets, largest, smallest, largestImportance };
}

/**
 * @param {any} block
 * @param {import("./types").SetMetadata} meta
 * @param {number} place
 * @param {number} entries
 * @returns {SetGraph}
 */
function setGraph(block, meta, place, entries) {
  const state = new Uint8Array(entries).fill(ABSENT);
  for (const entry of block.node) state[entry] = ALIVE;
  for (const entry of block.ghost) state[entry] = GHOST;
  /**
   * @template {Float32Array | Float64Array | Uint32Array | Uint8Array} Target
   * @param {Target} spread
   * @param {ArrayLike<number>} numbers
   */
  const spread = (spread, numbers) => {
    block.node.forEach((/** @type {number} */ entry, /** @type {number} */ row) => (spread[entry] = numbers[row]));
    return spread;
  };
  return {
    key: `set-${place}`,
    set: place,
    meta,
    state,
    ci: spread(new Float32Array(entries).fill(NaN), block.ci),
    probability: spread(new Float32Array(entries).fill(NaN), block.probability),
    targetProbability: spread(new Float32Array(entries).fill(NaN), block.target_probability ?? []),
    far: spread(new Uint8Array(entries), block.far ?? []),
    predicted: block.kl ? { kl: block.kl, likeliest: block.likeliest } : null,
    activation: spread(new Float32Array(entries).fill(NaN), block.activation),
    importance: spread(new Float64Array(entries), block.importance),
    incoming: spread(new Uint32Array(entries), block.incoming),
    outgoing: spread(new Uint32Array(entries), block.outgoing),
    edges: edgeList(block.source, block.target, block.value, entries),
  };
}
