// Names of layers and tokens at the sides, and of nodes where there is room.

import { percent, visible } from "./format.js";
import { ABSENT, GHOST } from "./prompt.js";

/** @typedef {import("./types").Layout} Layout */
/** @typedef {import("./theme").Colours} Colours */

const FAMILY = "system-ui, sans-serif";
const SMALL = `10px ${FAMILY}`;
const LINE = 12;
/** Labels of output nodes are this much apart. */
const LABEL_LINE = 10;
const SLANT = -Math.PI / 4;

/** The space that names at the sides take, in CSS pixels. */
export const GUTTER = { left: 80, top: 14, right: 10, level: 20, slanted: 38 };

/**
 * @param {CanvasRenderingContext2D} context whose origin is the picture's corner
 * @param {Layout} layout
 * @param {import("./types").View} view
 * @param {{ layers: import("./types").Layer[], tokens: string[], colours: Colours, marked: { row: number, position: number } | null }} what
 */
export function paintSides(context, layout, view, { layers, tokens, colours, marked }) {
  paintLayers(context, layout, view, layers, colours, marked?.row ?? -1);
  paintTokens(context, layout, view, tokens, colours, marked?.position ?? -1);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Layout} layout
 * @param {import("./types").View} view
 * @param {import("./types").Layer[]} layers
 * @param {Colours} colours
 * @param {number} marked
 */
function paintLayers(context, layout, view, layers, colours, marked) {
  context.font = SMALL;
  context.textBaseline = "middle";
  // Rows go up; where they are low, some go without their name.
  let free = Infinity;
  const name = (/** @type {string} */ text, /** @type {number} */ y, /** @type {boolean} */ isMarked) => {
    if (y > free || y < 5) return;
    free = y - LINE;
    context.fillStyle = isMarked ? colours.ink : colours.faint;
    context.textAlign = "right";
    context.fillText(text, -6, y);
  };
  for (const { block, rows, top, bottom } of groupsInView(layout, view, layers)) {
    const holdsMarked = rows.some(({ number }) => number === marked);
    if (block !== null && rows.some((row) => row.height < LINE)) {
      name(`h.${block}`, (top + bottom) / 2, holdsMarked);
      continue;
    }
    for (const { number, top, bottom } of rows) {
      name(rowName(layout.rows[number].layers.map(({ layer }) => layers[layer].kind)), (top + bottom) / 2, number === marked);
    }
    if (block !== null) paintBlock(context, block, top, bottom, colours);
  }
}

/**
 * The rows that are in view, those of a block together.
 * @param {Layout} layout
 * @param {import("./types").View} view
 * @param {import("./types").Layer[]} layers
 */
function groupsInView({ rows, height }, view, layers) {
  const screen = (/** @type {number} */ y) => Math.min(height, Math.max(0, y * view.zoom + view.y * height));
  /** @type {{ block: number | null, rows: { number: number, top: number, bottom: number, height: number }[], top: number, bottom: number }[]} */
  const groups = [];
  rows.forEach((row, number) => {
    const [top, bottom] = [screen(row.top), screen(row.bottom)];
    if (bottom <= top) return;
    const { block } = layers[row.layers[0].layer];
    const last = groups.at(-1);
    const shown = { number, top, bottom, height: (row.bottom - row.top) * view.zoom };
    if (last && block !== null && last.block === block) {
      last.rows.push(shown);
      last.top = top;
    } else {
      groups.push({ block, rows: [shown], top, bottom });
    }
  });
  return groups;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} block
 * @param {number} top
 * @param {number} bottom
 * @param {Colours} colours
 */
function paintBlock(context, block, top, bottom, colours) {
  if (bottom - top < 24) return;
  context.save();
  context.translate(-GUTTER.left + 7, (top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillStyle = colours.faint;
  context.fillText(`h.${block}`, 0, 0);
  context.restore();
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(-GUTTER.left + 14.5, top + 3);
  context.lineTo(-GUTTER.left + 14.5, bottom - 3);
  context.stroke();
}

/** @param {string[]} kinds */
function rowName(kinds) {
  if (kinds.length === 1) return kinds[0];
  return kinds.map((kind) => kind.replace("_proj", "")).join(" ");
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Layout} layout
 * @param {import("./types").View} view
 * @param {string[]} tokens
 * @param {Colours} colours
 * @param {number} marked
 */
function paintTokens(context, layout, view, tokens, colours, marked) {
  const { width, height } = layout;
  const columnWidth = layout.columnWidth * view.zoom;
  context.font = SMALL;
  const level = fit(context, tokens, columnWidth);
  context.textBaseline = level ? "top" : "middle";
  context.textAlign = level ? "center" : "right";
  const place = (/** @type {number} */ position) => (position + 0.5) * columnWidth + view.x * width;
  // Slanted lines are closer than their ends are. Where columns are narrow, some go without their token.
  const apart = level ? 0 : LINE / Math.sin(-SLANT);
  let free = -Infinity;
  tokens.forEach((token, position) => {
    const x = place(position);
    if (x < 0 || x > width) return;
    if (position !== marked) {
      const beside = marked >= 0 && Math.abs(x - place(marked)) < apart;
      if (x < free || beside) return;
      free = x + apart;
    }
    context.fillStyle = position === marked ? colours.ink : colours.faint;
    if (level) {
      context.fillText(visible(token), x, height + 6);
      return;
    }
    context.save();
    context.translate(x + 3, height + 6);
    context.rotate(SLANT);
    context.fillText(fitted(context, visible(token), (GUTTER.slanted - 6) / Math.sin(-SLANT) - 4) ?? "", 0, 0);
    context.restore();
  });
}

/**
 * Whether tokens can stand beside each other.
 * @param {CanvasRenderingContext2D} context
 * @param {string[]} tokens
 * @param {number} columnWidth
 */
function fit(context, tokens, columnWidth) {
  context.font = SMALL;
  return tokens.every((token) => context.measureText(visible(token)).width < columnWidth - 4);
}

/**
 * Space that tokens take below a picture, in CSS pixels.
 * @param {string[]} tokens
 * @param {number} columnWidth
 */
export function spaceBelow(tokens, columnWidth) {
  const context = document.createElement("canvas").getContext("2d");
  return context && fit(context, tokens, columnWidth) ? GUTTER.level : GUTTER.slanted;
}

/**
 * Tokens and probabilities of output nodes, and components of others, where there is room.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./types").Picture} picture
 * @param {{
 *   at: { x: Float32Array, y: Float32Array }, layout: Layout, zoom: number, entries: import("./types").Entries,
 *   layers: import("./types").Layer[], colours: Colours, outputToken: (id: number) => string, joined: Uint8Array,
 *   unjoined: boolean,
 * }} what
 */
export function paintNodeLabels(context, picture, what) {
  const { at, layout, zoom, entries, layers, colours, joined } = what;
  const { width, height } = layout;
  context.font = SMALL;
  context.textBaseline = "middle";
  context.lineWidth = 3;
  context.lineJoin = "round";
  /** Output nodes by the column of slots they are in. @type {Map<number, number[]>} */
  const outputs = new Map();
  const label = (/** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ entry) => {
    context.strokeStyle = colours.background;
    context.globalAlpha = 0.8;
    context.strokeText(text, x, y);
    context.globalAlpha = joined[entry] ? 1 : 0.7;
    context.fillStyle = picture.far[entry] ? colours.warning : colours.ink;
    context.fillText(text, x, y);
  };
  context.textAlign = "center";
  for (let entry = 0; entry < entries.count; entry++) {
    const [x, y, state] = [at.x[entry], at.y[entry], picture.state[entry]];
    if (state === ABSENT || state === GHOST || !(x > -60 && x < width + 20 && y > -10 && y < height + 10)) continue;
    if (!joined[entry] && !what.unjoined) continue;
    const { kind } = layers[entries.layer[entry]];
    if (kind === "output") {
      outputs.set(x, [...(outputs.get(x) ?? []), entry]);
      continue;
    }
    const [roomX, roomY] = [layout.roomX[entry] * zoom, layout.roomY[entry] * zoom];
    if (kind !== "wte" && roomX > 26 && roomY > 20) label(String(entries.component[entry]), x, y + Math.min(roomY / 2 - 5, 14), entry);
  }
  context.textAlign = "left";
  for (const [x, column] of outputs) {
    for (const { entry, y } of spread(column, picture, at, layout, zoom)) {
      const room = layout.roomX[entry] * zoom;
      // A difference is of two probabilities; each set's own picture has it.
      const probability = picture.set === null ? null : picture.probability[entry];
      const target = picture.targetProbability[entry];
      const text = outputLabel(context, what.outputToken(entries.component[entry]), probability, target, room - (room < 60 ? 6 : 10));
      if (text !== null) label(text, x + 7, y, entry);
    }
  }
  context.globalAlpha = 1;
}

/**
 * Where the labels of output nodes below each other are, a line apart; of more than have room, the most probable ones.
 * @param {number[]} column
 * @param {import("./types").Picture} picture
 * @param {{ y: Float32Array }} at
 * @param {Layout} layout
 * @param {number} zoom
 */
function spread(column, picture, at, layout, zoom) {
  const row = layout.rows[layout.rows.length - 1];
  const most = Math.max(1, Math.floor(((row.bottom - row.top) * zoom) / LABEL_LINE));
  const kept = [...column].sort((a, b) => picture.probability[b] - picture.probability[a]).slice(0, most);
  const labels = kept.map((entry) => ({ entry, y: at.y[entry] })).sort((a, b) => a.y - b.y);
  for (let i = 1; i < labels.length; i++) labels[i].y = Math.max(labels[i].y, labels[i - 1].y + LABEL_LINE);
  // Pushed apart downwards, they are moved back so that they stay around their nodes.
  const shift = labels.reduce((sum, { entry, y }) => sum + y - at.y[entry], 0) / Math.max(1, labels.length);
  for (const label of labels) label.y -= shift;
  return labels;
}

/**
 * Token, probability, and what the target model says of it: as much of them as has room.
 * @param {CanvasRenderingContext2D} context
 * @param {string} token
 * @param {number | null} probability
 * @param {number} target NaN where it is not known
 * @param {number} width
 */
function outputLabel(context, token, probability, target, width) {
  if (probability === null) return fitted(context, visible(token), width);
  const narrow = (/** @type {number} */ share) => percent(share).replace(" ", "\u2009");
  const share = narrow(probability);
  const whole = `${visible(token)} ${share}`;
  const beside = Number.isNaN(target) ? [] : [`${whole} (target ${narrow(target)})`, `${whole} (${narrow(target)})`];
  const fits = [...beside, whole].find((text) => context.measureText(text).width <= width);
  if (fits) return fits;
  const start = fitted(context, visible(token), width - context.measureText(` ${share}`).width);
  return start ? `${start} ${share}` : fitted(context, visible(token), width);
}

/**
 * As much of a text as fits; null if that is less than three characters.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  const characters = [...text];
  for (let kept = Math.min(characters.length - 1, 40); kept >= 2; kept--) {
    const shortened = `${characters.slice(0, kept).join("")}\u2026`;
    if (context.measureText(shortened).width <= width) return shortened;
  }
  return null;
}
