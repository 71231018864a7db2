// How faithful a set's masked model is to the target model: in words, and position by position above a picture.

import { number, plural } from "./format.js";

/** @typedef {import("./types").SetGraph} SetGraph */
/** @typedef {import("./types").SetPrediction} SetPrediction */

/** Height of the bars above a picture, in CSS pixels. */
const BAR = 9;

/** @param {SetPrediction} prediction */
export function shortText({ mean_kl, agreeing, positions, is_far }) {
  return `${is_far ? "\u26a0 " : ""}KL ${number(mean_kl)}, ${agreeing} of ${positions} alike`;
}

/**
 * @param {SetPrediction} prediction
 * @param {{ means: string }} far
 */
export function longText({ mean_kl, agreeing, positions, far_outputs, is_far }, far) {
  const parts = [
    `KL ${number(mean_kl)} nats from the target model, likeliest token the same at ${agreeing} of ${plural(positions, "position")}.`,
  ];
  if (is_far) parts.unshift(`${far.means[0].toUpperCase()}${far.means.slice(1)}.`);
  if (far_outputs > 0) parts.push(`${plural(far_outputs, "output node")} more than ten times off the target model's probability.`);
  return parts.join(" ");
}

/**
 * Whether both models have the same likeliest token at a position.
 * @param {import("./types").Prompt} prompt
 * @param {{ likeliest: Uint32Array }} predicted
 * @param {number} position
 */
export function agrees(prompt, predicted, position) {
  return prompt.targetLikeliest[position]?.[0]?.[0] === predicted.likeliest[position];
}

/**
 * A bar above each column: the divergence from the target model, whole where it is `full` or more.
 * @param {CanvasRenderingContext2D} context whose origin is the picture's corner
 * @param {import("./types").Layout} layout
 * @param {import("./types").View} view
 * @param {{ prompt: import("./types").Prompt, set: SetGraph, full: number, colours: import("./theme").Colours }} what
 */
export function paintBars(context, layout, view, { prompt, set, full, colours }) {
  const { predicted } = set;
  if (!predicted) return;
  const columnWidth = layout.columnWidth * view.zoom;
  predicted.kl.forEach((kl, position) => {
    const left = Math.max(0, position * columnWidth + view.x * layout.width + 1);
    const right = Math.min(layout.width, (position + 1) * columnWidth + view.x * layout.width - 1);
    if (right <= left) return;
    const height = Math.max(1, BAR * Math.min(1, kl / full));
    context.fillStyle = agrees(prompt, predicted, position) ? colours.both : colours.warning;
    context.fillRect(left, -2 - height, right - left, height);
  });
}
