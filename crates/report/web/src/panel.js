// One picture: its name, two canvases and what it hides.
//
// The lower canvas has nodes and edges and is drawn anew only when they change; where there are too many for one frame,
// it is drawn aside over several while the old one is moved along. The upper one has what follows the pointer.

import { element, isolated } from "./dom.js";
import { testedButton } from "./evaluation.js";
import { count, plural, visible } from "./format.js";
import { hiddenText } from "./hidden.js";
import { paintEdges } from "./paint_edges.js";
import { GUTTER, paintNodeLabels, paintSides } from "./paint_labels.js";
import { ghostRadius, nodeColour, paintBands, paintNodes, radiusOf } from "./paint_nodes.js";
import { ABSENT, GHOST } from "./prompt.js";
import { longText, paintBars, shortText } from "./prediction.js";
import { edgeAlpha, highlightAlpha } from "./scales.js";
import { onScreen } from "./screen.js";

/** @typedef {import("./types").Picture} Picture */
/** @typedef {import("./session").Session} Session */

/** Edges that are drawn at once, if that took no more than so many milliseconds the last time; else over several frames. */
const AT_ONCE = { edges: 4000, took: 6 };
const TURN = 2 * Math.PI;

export class Panel {
  /**
   * @param {Session} session
   * @param {Picture} picture
   * @param {string} title
   */
  constructor(session, picture, title) {
    this.session = session;
    this.picture = picture;
    this.title = title;
    const titleId = `title-${picture.key}`;
    this.counts = element("span", { className: "counts" });
    this.enlarge = element("button", { type: "button", className: "enlarge" });
    this.base = element("canvas", { className: "base", "aria-hidden": "true" });
    this.over = element("canvas", { className: "over", tabIndex: 0, role: "img", "aria-labelledby": titleId, "aria-describedby": "announcement" });
    this.plot = element("div", { className: "plot" }, this.base);
    this.hidden = element("p", { className: "hidden-edges" });
    this.holder = element("div", { className: "picture" }, this.plot, this.over);
    const heading = element("h2", { id: titleId }, isolated(title));
    this.root = element("section", { className: "panel", "aria-labelledby": titleId },
      element("header", {}, heading, this.counts, ...prediction(session, picture), ...tested(session, picture), this.enlarge), this.holder, this.hidden);
    this.root.dataset.picture = picture.key;
    this.width = this.height = 0;
    this.scale = 1;
    /** View that the lower canvas was drawn at. */
    this.drawn = session.state.view;
    /** @type {Generator<void> | null} */
    this.drawing = null;
    /** Whether it is on the screen, and whether what it shows has changed since it was drawn. */
    this.inSight = false;
    this.outdated = true;
    /** Milliseconds that the last drawing of the lower canvas took. */
    this.took = 0;
  }

  /**
   * @param {number} width of the picture without its sides, in CSS pixels
   * @param {number} height
   * @param {number} bottom space below it
   */
  resize(width, height, bottom) {
    const scale = window.devicePixelRatio || 1;
    const outer = { width: width + GUTTER.left + GUTTER.right, height: height + GUTTER.top + bottom };
    const set = (/** @type {HTMLCanvasElement} */ canvas, /** @type {{ width: number, height: number }} */ size) => {
      [canvas.width, canvas.height] = [Math.round(size.width * scale), Math.round(size.height * scale)];
      [canvas.style.width, canvas.style.height] = [`${size.width}px`, `${size.height}px`];
    };
    set(this.base, { width, height });
    set(this.over, outer);
    this.holder.style.height = `${outer.height}px`;
    const { style } = this.plot;
    [style.left, style.top, style.width, style.height] = [`${GUTTER.left}px`, `${GUTTER.top}px`, `${width}px`, `${height}px`];
    [this.width, this.height, this.scale] = [width, height, scale];
  }

  /** Says what is shown and what is not. */
  describe() {
    const { picture, session } = this;
    const shown = session.shown(picture);
    const text = hiddenText(picture, shown, session.state);
    this.counts.textContent =
      picture.set === null
        ? `${count(shown.ids.length)} of ${plural(picture.edges.value.length, "difference")}`
        : `${count(shown.ids.length)} of ${plural(text.edges, "edge")}`;
    this.hidden.textContent = text.hidden;
    this.hidden.title = text.hidden;
    const enlarged = session.state.enlarged === picture.key;
    this.enlarge.textContent = enlarged ? "All" : "Enlarge";
    this.enlarge.setAttribute("aria-pressed", String(enlarged));
    this.enlarge.setAttribute("aria-label", enlarged ? "Show all pictures" : `Enlarge ${visible(this.title)}`);
  }

  /** Whether the lower canvas takes more than a frame. */
  get isSlow() {
    return this.took > AT_ONCE.took || this.session.shown(this.picture).ids.length > AT_ONCE.edges;
  }

  /** Moves what is drawn to where it is at the present view, until it is drawn anew. */
  follow() {
    const { drawn, width, height } = this;
    const { view } = this.session.state;
    const ratio = view.zoom / drawn.zoom;
    const x = (view.x - drawn.x * ratio) * width;
    const y = (view.y - drawn.y * ratio) * height;
    this.base.style.transform = ratio === 1 && x === 0 && y === 0 ? "" : `translate(${x}px, ${y}px) scale(${ratio})`;
  }

  /**
   * Begins to draw nodes and edges; `advance` goes on.
   * @param {import("./types").Layout} layout
   * @param {import("./theme").Colours} colours
   */
  redraw(layout, colours) {
    this.drawing = this.paint(layout, colours);
    if (!this.isSlow) this.advance(Infinity);
  }

  /**
   * @param {number} until time at which to pause
   * @returns {boolean} whether the drawing is complete
   */
  advance(until) {
    if (!this.drawing) return true;
    const started = performance.now();
    let done = false;
    while (!done) {
      done = this.drawing.next().done ?? true;
      if (performance.now() > until) break;
    }
    this.took += performance.now() - started;
    if (done) this.drawing = null;
    return done;
  }

  /**
   * @param {import("./types").Layout} layout
   * @param {import("./theme").Colours} colours
   */
  *paint(layout, colours) {
    const { session, picture, width, height } = this;
    const { prompt, metadata, state } = session;
    const { view, ghosts, unjoined } = state;
    const shown = session.shown(picture);
    const crowd = session.crowd();
    const aside = document.createElement("canvas");
    [aside.width, aside.height] = [this.base.width, this.base.height];
    const context = aside.getContext("2d");
    if (!context) return;
    this.took = 0;
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    paintBands(context, layout, view, colours);
    const at = onScreen(layout, view);
    const dashed = /** @type {any} */ (picture).uncertain;
    const alpha = (/** @type {number} */ level) => edgeAlpha(level, crowd);
    yield* paintEdges(context, picture.edges, shown.ids, at, { colours, largest: prompt.largest, alpha, width, height, dashed });
    const what = {
      at, layout, zoom: view.zoom, entries: prompt.entries, layers: metadata.layers, colours, ghosts, unjoined,
      largestImportance: prompt.largestImportance, joined: shown.joined,
      outputToken: (/** @type {number} */ id) => session.outputToken(id),
    };
    paintNodes(context, picture, what);
    paintNodeLabels(context, picture, what);
    const base = this.base.getContext("2d");
    base?.clearRect(0, 0, aside.width, aside.height);
    base?.drawImage(aside, 0, 0);
    this.drawn = view;
    this.follow();
  }

  /**
   * Draws what follows the pointer: the highlighted node with its edges, and the nodes that are searched for.
   * @param {import("./types").Layout} layout
   * @param {import("./theme").Colours} colours
   */
  drawOver(layout, colours) {
    const { session, width, height } = this;
    const { prompt, metadata, state, focus } = session;
    const context = this.over.getContext("2d");
    if (!context) return;
    const { scale } = this;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.over.width, this.over.height);
    context.translate(GUTTER.left, GUTTER.top);
    const marked = focus === null ? null : { row: rowOf(layout, prompt.entries.layer[focus]), position: prompt.entries.position[focus] };
    paintSides(context, layout, state.view, { layers: metadata.layers, tokens: prompt.tokens, colours, marked });
    if (this.picture.set !== null) {
      const set = prompt.sets[this.picture.set];
      paintBars(context, layout, state.view, { prompt, set, full: metadata.far.kl, colours });
    }
    this.plot.classList.toggle("dimmed", focus !== null);
    context.save();
    context.beginPath();
    context.rect(0, 0, width, height);
    context.clip();
    const at = onScreen(layout, state.view);
    for (const entry of state.matches) this.ring(context, entry, at, layout, colours.accent, 1.5, 3);
    if (focus !== null) this.drawFocus(context, focus, at, layout, colours);
    if (state.selected !== null) this.ring(context, state.selected, at, layout, colours.accent, 2.5, 3);
    context.restore();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} focus
   * @param {{ x: Float32Array, y: Float32Array }} at
   * @param {import("./types").Layout} layout
   * @param {import("./theme").Colours} colours
   */
  drawFocus(context, focus, at, layout, colours) {
    const { session, picture, width, height } = this;
    const { prompt, metadata, state } = session;
    const ids = session.highlighted(picture);
    const dashed = /** @type {any} */ (picture).uncertain;
    const style = { colours, largest: prompt.largest, alpha: highlightAlpha, width, height, dashed };
    for (const _ of paintEdges(context, picture.edges, ids, at, style)) continue;
    const ends = new Set([focus]);
    for (const id of ids) ends.add(picture.edges.source[id]).add(picture.edges.target[id]);
    const sizes = { layout, zoom: state.view.zoom, largestImportance: prompt.largestImportance };
    context.lineWidth = 1;
    for (const entry of ends) {
      const node = picture.state[entry];
      if (node === ABSENT || Number.isNaN(at.x[entry])) continue;
      const radius = node === GHOST ? ghostRadius(layout, entry, state.view.zoom) : Math.max(2, radiusOf(picture, entry, sizes));
      context.beginPath();
      context.arc(at.x[entry], at.y[entry], radius, 0, TURN);
      context.strokeStyle = node === GHOST ? colours.ghost : colours.background;
      context.fillStyle = node === GHOST ? colours.background : nodeColour(picture, entry, prompt.entries, metadata.layers, colours);
      context.fill();
      context.stroke();
    }
    this.ring(context, focus, at, layout, colours.ink, 1.5, 2);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} entry
   * @param {{ x: Float32Array, y: Float32Array }} at
   * @param {import("./types").Layout} layout
   * @param {string} colour
   * @param {number} lineWidth
   * @param {number} distance from the node
   */
  ring(context, entry, at, layout, colour, lineWidth, distance) {
    if (Number.isNaN(at.x[entry])) return;
    const { prompt, state } = this.session;
    const sizes = { layout, zoom: state.view.zoom, largestImportance: prompt.largestImportance };
    context.beginPath();
    context.arc(at.x[entry], at.y[entry], Math.max(2, radiusOf(this.picture, entry, sizes)) + distance, 0, TURN);
    context.strokeStyle = colour;
    context.lineWidth = lineWidth;
    // Where the entry is no node, its place is marked all the same, faintly.
    context.setLineDash(this.picture.state[entry] === ABSENT || this.picture.state[entry] === GHOST ? [2, 2] : []);
    context.stroke();
    context.setLineDash([]);
  }
}

/**
 * @param {import("./types").Layout} layout
 * @param {number} layer
 */
function rowOf(layout, layer) {
  return layout.rows.findIndex((row) => row.layers.some((part) => part.layer === layer));
}

/**
 * How faithful the set's masked model is to the target model, where that is known.
 * @param {Session} session
 * @param {Picture} picture
 */
function prediction({ prompt, metadata }, picture) {
  const known = picture.set === null ? null : prompt.sets[picture.set].meta.prediction;
  if (!known) return [];
  const className = known.is_far ? "prediction far" : "prediction";
  return [element("span", { className, title: longText(known, metadata.far) }, shortText(known))];
}

/**
 * @param {Session} session
 * @param {Picture} picture
 */
function tested(session, picture) {
  return picture.set === null ? [] : testedButton(session, session.prompt.sets[picture.set]);
}
