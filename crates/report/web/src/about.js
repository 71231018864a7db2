// Where the data come from.

import { byId, element } from "./dom.js";
import { count, number, plural } from "./format.js";

/** @param {import("./types").Metadata} metadata */
export function fillAbout({ tool_version, model, computation, attributions, max_edges_per_set, prompts }) {
  const sets = prompts.reduce((sum, prompt) => sum + prompt.sets.length, 0);
  const said = [attributions.evaluated, attributions.view].filter((part) => part !== null).join("; ");
  /** @type {[string, string][]} */
  const rows = [
    ["model", `${model.class}, ${model.fingerprint.slice(0, 12)}`],
    ["computed on", `${computation.backend}, ${computation.device}, ${computation.dtype}, ${computation.method}`],
    [computation.is_strict ? "alive above" : "alive from", `CI ${number(computation.ci_threshold)}, probability ${number(computation.output_prob_threshold)}`],
    ...(said ? [/** @type {[string, string]} */ (["attributions", said])] : []),
    ["in this file", `${plural(sets, "set")} of ${plural(prompts.length, "prompt")}, at most ${count(max_edges_per_set)} edges of each`],
    ["made by", `tributary ${tool_version}`],
  ];
  byId("about").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}
