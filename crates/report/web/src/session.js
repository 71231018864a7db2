// The data that are looked at, and what follows from them and the state.

import { difference } from "./difference.js";
import { edgesOf } from "./edges.js";
import { isShown, passes, shownEdges } from "./filter.js";
import { visible } from "./format.js";
import { takePrompt } from "./prompt.js";

/** @typedef {import("./types").Picture} Picture */
/** @typedef {import("./types").Shown} Shown */

export class Session {
  /**
   * @param {import("./types").Metadata} metadata
   * @param {import("./types").Store} store
   * @param {import("./types").Prompt} prompt
   */
  constructor(metadata, store, prompt) {
    this.metadata = metadata;
    this.store = store;
    this.prompt = prompt;
    /** Data leave the page when they are decoded, so prompts are kept. */
    this.prompts = new Map([[prompt.number, prompt]]);
    /** @type {import("./types").Difference | null} */
    this.known = null;
    /** @type {Map<Picture, { filter: unknown[], shown: Shown }>} */
    this.filtered = new Map();
  }

  get state() {
    return this.store.state;
  }

  /** @param {number} number */
  async changePrompt(number) {
    const prompt = this.prompts.get(number) ?? (await takePrompt(this.metadata, number));
    this.prompts.set(number, prompt);
    this.prompt = prompt;
    this.known = null;
    this.filtered.clear();
    this.store.update({
      prompt: number,
      hiddenSets: new Set(),
      tested: null,
      selected: null,
      hovered: null,
      matches: [],
      enlarged: null,
      first: 0,
      second: Math.min(1, prompt.sets.length - 1),
      difference: this.state.difference && prompt.sets.length > 1,
      view: { zoom: 1, x: 0, y: 0 },
    });
  }

  /** The sets whose numbers are listed: the two of a difference, else those that are not hidden. */
  sets() {
    const { difference, first, second, hiddenSets } = this.state;
    const { sets } = this.prompt;
    return difference ? [sets[first], sets[second]] : sets.filter((set) => !hiddenSets.has(set.set));
  }

  /** @returns {Picture[]} */
  pictures() {
    return this.state.difference ? [...this.sets(), this.difference()] : this.sets();
  }

  difference() {
    const { first, second } = this.state;
    const { sets } = this.prompt;
    if (this.known?.first !== sets[first] || this.known?.second !== sets[second]) {
      this.known = difference(sets[first], sets[second]);
    }
    return this.known;
  }

  /**
   * @param {Picture} picture
   * @returns {Shown}
   */
  shown(picture) {
    const { hiddenLayers, least, top } = this.state;
    const filter = [hiddenLayers, least, top];
    const known = this.filtered.get(picture);
    if (known && known.filter.every((part, i) => part === filter[i])) return known.shown;
    const shown = shownEdges(picture.edges, this.prompt.entries, this.state);
    this.filtered.set(picture, { filter, shown });
    return shown;
  }

  /** Edges shown in the fullest picture. */
  crowd() {
    return Math.max(0, ...this.pictures().map((picture) => this.shown(picture).ids.length));
  }

  /** The node that is looked at: under the pointer, else selected. */
  get focus() {
    return this.state.hovered ?? this.state.selected;
  }

  /**
   * Ids of the edges of the node that is looked at: the shown ones, or all in the page.
   * @param {Picture} picture
   */
  highlighted(picture) {
    const { focus } = this;
    if (focus === null) return new Uint32Array();
    const shown = this.shown(picture);
    const { every, hiddenLayers } = this.state;
    return edgesOf(picture.edges, focus).filter(
      (id) => passes(picture.edges, id, this.prompt.entries, hiddenLayers) && (every || isShown(shown, id)),
    );
  }

  /** @param {number} entry */
  layerOf(entry) {
    return this.metadata.layers[this.prompt.entries.layer[entry]];
  }

  /**
   * The token an entry stands for: of an output node its own, else the one at its position.
   * @param {number} entry
   */
  token(entry) {
    const { position, component } = this.prompt.entries;
    return this.layerOf(entry).kind === "output" ? this.outputToken(component[entry]) : this.prompt.tokens[position[entry]];
  }

  /** @param {number} id */
  outputToken(id) {
    return this.metadata.output_tokens[id] ?? `<${id}>`;
  }

  /**
   * Layer and component, as search takes them.
   * @param {number} entry
   */
  name(entry) {
    const layer = this.layerOf(entry);
    const { component } = this.prompt.entries;
    if (layer.kind === "wte") return "wte";
    if (layer.kind === "output") return `output ${visible(this.token(entry))}`;
    return `${layer.name} ${component[entry]}`;
  }

  /**
   * The token at the position of an entry, and the position.
   * @param {number} entry
   */
  place(entry) {
    const position = this.prompt.entries.position[entry];
    return `${visible(this.prompt.tokens[position])} @${position}`;
  }
}
