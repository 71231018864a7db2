/** What the modules hand each other. Only for checking; nothing of it is in the bundle. */

/** Everything in the page that is not a column of numbers: what `src/metadata.rs` writes. */
export interface Metadata {
  tool_version: string;
  model: { class: string; fingerprint: string };
  computation: {
    backend: string;
    device: string;
    dtype: string;
    method: string;
    ci_threshold: number;
    output_prob_threshold: number;
    /** Whether what is alive is above the thresholds, and not just at them. */
    is_strict: boolean;
  };
  /** Where all attributions were evaluated, and how they are looked at, in words; null where that need not be said. */
  attributions: { evaluated: string | null; view: string | null };
  max_edges_per_set: number;
  /** From where on a masked model is far from the target model, in nats, and what that means. */
  far: { kl: number; means: string };
  layers: Layer[];
  /** What the model computes in each regime of an evaluation. */
  regimes: { name: string; means: string }[];
  rows: number[][];
  output_tokens: Record<string, string>;
  prompts: PromptMetadata[];
}

export interface Layer {
  name: string;
  kind: string;
  block: number | null;
}

export interface PromptMetadata {
  text: string;
  token_strings: string[];
  /** By position, tokens and probabilities, the likeliest first; empty where not known. */
  target_likeliest: [number, number][][];
  columns: Column[];
  sets: SetMetadata[];
}

export interface SetMetadata {
  name: string;
  /** Without evaluation and curve. */
  metadata: unknown;
  metadata_left_out: number | null;
  evaluation: Evaluation | null;
  /** Why the evaluation in the metadata is not understood. */
  evaluation_problem: string | null;
  curve: Curve | null;
  nodes: number;
  ghosts: number;
  edges: number;
  written: number;
  left_out: number;
  largest_left_out: number;
  zero: number;
  not_finite: number;
  magnitude: number;
  magnitude_left_out: number;
  prediction: SetPrediction | null;
  columns: Column[];
}

/** How faithful a set's masked model is to the target model. */
export interface SetPrediction {
  mean_kl: number;
  positions: number;
  agreeing: number;
  far_outputs: number;
  is_far: boolean;
}

/** What the model predicts with nothing but the nodes of a set: what `src/evaluation.rs` writes. */
export interface Evaluation {
  label: string | null;
  position: number | null;
  mask_by_ci: boolean;
  /** Steps of the adversary and their size. */
  adversary: [number, number] | null;
  line: string | null;
  /** The set itself first. */
  selections: Selection[];
  selections_left_out: number;
}

export interface Selection {
  name: string;
  nodes: number | null;
  is_refuted: boolean;
  /** By regime; null where nothing is known of it. */
  regimes: (Predicted | null)[];
}

export interface Predicted {
  label_prob: Measured | null;
  kl: Measured | null;
  kl_mean: Measured | null;
  top: [string, number][];
}

export interface Measured {
  mean: number;
  text: string;
  least: string | null;
  draws: number | null;
}

/** Numbers by step of an optimised set. */
export interface Curve {
  steps: number[];
  columns: [string, (number | null)[]][];
}

export interface Column {
  name: string;
  type: "u32" | "f32" | "f64";
  length: number;
}

export type Numbers = Uint32Array | Float32Array | Float64Array;

/** Every (layer, position, component) that is a node or a ghost of any set of a prompt, in the order data flows. */
export interface Entries {
  count: number;
  layer: Uint32Array;
  position: Uint32Array;
  component: Uint32Array;
}

/** Edges by descending absolute value. Ends are places in `Entries`. */
export interface EdgeList {
  source: Uint32Array;
  target: Uint32Array;
  value: Float32Array | Float64Array;
  /** How an edge is drawn: a place in `EDGE_KINDS`. */
  kind: Uint8Array;
  adjacency: Adjacency;
}

/** Ids of the edges to and from each entry, ascending: the strongest first. */
export interface Adjacency {
  incoming: Buckets;
  outgoing: Buckets;
}

/** Bucket i is `ids.subarray(starts[i], starts[i + 1])`. */
export interface Buckets {
  starts: Uint32Array;
  ids: Uint32Array;
}

/** What a panel draws: a set, or the difference of two. */
export interface Picture {
  key: string;
  /** Place of the set; null for a difference. */
  set: number | null;
  /** By entry: a place in `NODE_STATES`. */
  state: Uint8Array;
  importance: Float64Array;
  probability: Float32Array;
  /** The target model's; NaN where it is not known. */
  targetProbability: Float32Array;
  /** Whether the two are far from each other. */
  far: Uint8Array;
  edges: EdgeList;
}

/** A set: its numbers by entry, NaN or 0 where the entry is no node of it. */
export interface SetGraph extends Picture {
  set: number;
  meta: SetMetadata;
  ci: Float32Array;
  activation: Float32Array;
  /** By position: the divergence from the target model and the likeliest token; null where not known. */
  predicted: { kl: Float32Array; likeliest: Uint32Array } | null;
  incoming: Uint32Array;
  outgoing: Uint32Array;
}

/** Where a value comes from that is no edge in the page. */
export interface Difference extends Picture {
  set: null;
  first: SetGraph;
  second: SetGraph;
  /** Values in the two sets; NaN where the edge is not in the page. */
  before: Float64Array;
  after: Float64Array;
  /** Whether the value of one side is not in the page, though the edge exists there. */
  uncertain: Uint8Array;
  /** Edges of equal value in both, which are not listed. */
  unchanged: number;
}

export interface Prompt {
  number: number;
  text: string;
  tokens: string[];
  targetLikeliest: [number, number][][];
  entries: Entries;
  sets: SetGraph[];
  /** Over all sets: what widths and sizes are scaled by. */
  largest: number;
  smallest: number;
  largestImportance: number;
}

/** Part of the edges of a list. */
export interface Shown {
  /** Ascending. */
  ids: Uint32Array;
  /** Edges between layers that are shown. */
  passing: number;
  /** Sum of the absolute values of the shown ones. */
  magnitude: number;
  /** By entry: whether it has a shown edge. */
  joined: Uint8Array;
}

export interface View {
  /** Magnification, at least 1. */
  zoom: number;
  /** Where the upper left corner of the layout is, in widths and heights of the picture. */
  x: number;
  y: number;
}

export interface State {
  prompt: number;
  difference: boolean;
  first: number;
  second: number;
  enlarged: string | null;
  hiddenSets: Set<number>;
  hiddenLayers: Set<number>;
  least: number;
  top: number;
  ghosts: boolean;
  unjoined: boolean;
  every: boolean;
  /** The set whose evaluation is shown in full; null for the first that has one. */
  tested: number | null;
  selected: number | null;
  hovered: number | null;
  matches: number[];
  theme: "auto" | "light" | "dark";
  view: View;
}

export interface Store {
  readonly state: State;
  update(patch: Partial<State>): void;
  subscribe(listener: (state: State, before: State) => void): void;
}

export interface LayoutRow {
  top: number;
  bottom: number;
  /** Left and right of each layer, in widths of a column. */
  layers: { layer: number; left: number; right: number }[];
}

export interface Layout {
  width: number;
  height: number;
  columnWidth: number;
  rows: LayoutRow[];
  /** By entry; NaN where its layer is hidden. */
  x: Float32Array;
  y: Float32Array;
  /** Distance to the next slot, horizontally and vertically. */
  roomX: Float32Array;
  roomY: Float32Array;
}
