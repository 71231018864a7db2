// What the node under the pointer is.

import { byId, element } from "./dom.js";
import { number } from "./format.js";
import { GHOST } from "./prompt.js";

/**
 * @param {import("./panel").Panel} panel
 * @param {number | null} entry
 * @param {PointerEvent} event
 */
export function showTip({ session, picture }, entry, event) {
  const tip = byId("tip");
  tip.hidden = entry === null || event.pointerType === "touch";
  if (entry === null || tip.hidden) return;
  const lines = [element("b", {}, session.name(entry)), session.place(entry)];
  if (picture.state[entry] === GHOST) lines.push("ghost: not alive in this set");
  else lines.push(...numbers(session, picture, entry));
  tip.replaceChildren(...lines.map((line) => element("div", {}, line)));
  const { width, height } = tip.getBoundingClientRect();
  const x = event.clientX + 14 + width > innerWidth ? event.clientX - width - 10 : event.clientX + 14;
  const y = event.clientY + 14 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 14;
  tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
}

/**
 * @param {import("./session").Session} session
 * @param {import("./types").Picture} picture
 * @param {number} entry
 */
function numbers(session, picture, entry) {
  if (picture.set === null) return [];
  const set = session.prompt.sets[picture.set];
  const lines = [];
  if (!Number.isNaN(set.probability[entry])) {
    const target = set.targetProbability[entry];
    lines.push(`probability ${number(set.probability[entry])}${Number.isNaN(target) ? "" : `, target model ${number(target)}`}`);
  }
  if (!Number.isNaN(set.ci[entry])) lines.push(`CI ${number(set.ci[entry])}`);
  lines.push(`importance ${number(set.importance[entry])}`);
  return lines;
}

export function hideTip() {
  byId("tip").hidden = true;
}
