// How an optimised set came about: small curves by step.

import { element } from "./dom.js";
import { number } from "./format.js";

const SIZE = { width: 120, height: 22 };
const SVG = "http://www.w3.org/2000/svg";
/** @type {Record<string, string>} */
const NAMES = { recon: "loss", imp_min: "sparsity loss", total: "total loss", l0: "alive (L0)", label_prob: "p(label)" };

/** @param {import("./types").Curve} curve */
export function curveTable({ steps, columns }) {
  const rows = columns.map(([name, values]) => {
    const known = values.filter((value) => value !== null);
    const [first, last] = [known[0], known[known.length - 1]].map((value) => (value === undefined ? "\u2013" : number(value)));
    return element("tr", { title: name },
      element("th", { scope: "row" }, NAMES[name] ?? name), element("td", {}, first), element("td", {}, drawn(values)), element("td", {}, last));
  });
  const range = `step ${steps[0]} to ${steps[steps.length - 1]}, each from its least to its largest`;
  return element("details", { className: "curve" }, element("summary", {}, "how it was optimised"),
    element("table", {}, ...rows), element("p", { className: "note" }, range));
}

/** @param {(number | null)[]} values */
function drawn(values) {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (/** @type {number} */ place) => (SIZE.width * place) / Math.max(1, values.length - 1);
  const y = (/** @type {number} */ value) => 1 + (SIZE.height - 2) * (high > low ? (high - value) / (high - low) : 0.5);
  const points = values.flatMap((value, place) => (value === null ? [] : [`${x(place).toFixed(1)},${y(value).toFixed(1)}`]));
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.join(" "));
  for (const [name, value] of Object.entries(SIZE)) svg.setAttribute(name, String(value));
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return svg;
}
