// Colours come from the style sheet, so that pictures and page change together.

/** @typedef {{ [name: string]: string }} Colours */

const NAMES = [
  "background", "band", "line", "ink", "faint", "accent", "ghost", "both",
  "positive", "negative", "only-first", "only-second", "warning",
  "wte", "embedding", "q_proj", "k_proj", "v_proj", "c_attn", "o_proj", "gate_proj", "c_fc", "down_proj", "lm_head",
  "output",
];

/** @returns {Colours} */
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** @param {"auto" | "light" | "dark"} theme */
export function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
