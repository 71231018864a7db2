import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, launch, open, readJson } from "./page.js";

/** @type {import("puppeteer-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const { sets } = readJson("nasty.json");
const here = sets.filter((set) => set.prompt === 0);
const [first, second] = here.map(({ metadata }) => metadata?.evaluation?.selections);

/** Cells of a table, row by row, each as text without what bars and least values are. */
const table = (/** @type {import("puppeteer-core").Page} */ page, /** @type {string} */ selector) =>
  page.$$eval(`${selector} tr`, (rows) => rows.map((row) => [...row.children].map((cell) => (cell.querySelector("bdi") ?? cell.firstChild)?.textContent ?? "")));

test("what came of putting a set to the test is shown beside its picture, and in full", async () => {
  const { page, problems } = await open(browser, "nasty.html");
  // Beside pictures and in the list: what is left against an adversary, coloured where that is next to nothing.
  for (const selector of [".panel", "#sets li"]) {
    const said = await page.$$eval(selector, (found) => found.map((one) => {
      const button = one.querySelector(".tested");
      return button && [button.textContent, button.classList.contains("refuted"), button.title];
    }));
    assert.deepEqual(said.slice(0, 2).map(([text, refuted]) => [text, refuted]), [["adv. p 0.06 \u00b1 0.02", true], ["adv. p 0.50 \u00b1 0.02", false]]);
    assert.deepEqual(said.slice(2), here.slice(2).map(() => null));
    assert.ok(said[0][2].includes("target 0.75, ci 0.50, stochastic 0.25 \u00b1 0.02") && said[0][2].includes("Less than a tenth"), said[0][2]);
  }
  assert.deepEqual(await table(page, ".tested-sets"), [
    ["p(label)", "target", "ci", "ablated", "stoch.", "adv.", "dead 0"],
    [here[0].name, "0.75", "0.50", "\u2013", "0.25", "0.06", "0.12"],
    [here[1].name, "0.75", "0.50", "\u2013", "0.25", "0.50", "0.12"],
  ]);
  assert.deepEqual(await table(page, ".regimes"), [
    ["", "p(label)", "KL", "most probable"],
    ["target", "0.75", "0", page_token(3)],
    ["ci", "0.50", "0.25", page_token(3)],
    ["stochastic", "0.25 \u00b1 0.02", "1.50 \u00b1 0.02", ""],
    ["adversarial", "0.06 \u00b1 0.02", "6.00 \u00b1 0.02", ""],
    ["adversarial, dead at 0", "0.12 \u00b1 0.02", "\u2013", ""],
  ]);
  const top = await page.$$eval(".regimes tr:nth-child(2) .top div", (found) => found.map((one) => one.textContent));
  assert.deepEqual(top.map((text) => text.slice(text.lastIndexOf(" ", text.length - 3))), [" 75 %", " 13 %", " 6.3 %"]);
  const titles = await page.$$eval(".regimes th[scope=row]", (found) => found.map((one) => one.title));
  assert.ok(titles.every((title) => title.length > 20) && titles[3].endsWith("4 steps of 1."), titles[3]);
  // Controls are one row, their mean.
  assert.deepEqual((await table(page, ".selections")).map((row) => row.slice(0, 3)), [
    ["kept", "nodes", "ci"], ["all", "12", "0.50"], [first[1].name, "4", "0.38"], ["random for all", "12", "0.19"],
  ]);
  // What is no evaluation is said to be none, and shown with the other metadata.
  const note = await page.$eval("#evaluation > .note:last-child", (found) => found.textContent);
  assert.ok(note.startsWith(`${here[3].name}: the evaluation in its metadata is not understood: evaluation.selections is`), note);
  const raw = await page.$$eval("#sets pre", (found) => found.map((one) => JSON.parse(one.textContent)));
  assert.deepEqual(raw, [{ coefficient: 1e-4, note: here[0].name }, here[3].metadata]);
  assert.deepEqual(problems, []);
  await page.close();
});

/** A token as the page shows it, first in the list. @param {number} id */
function page_token(id) {
  return readJson("nasty.json").output_tokens[id];
}

test("the set that is looked at is chosen beside its picture or in the table", async () => {
  const { page, problems } = await open(browser, "nasty.html");
  const title = () => page.$eval("#evaluation h3", (found) => found.textContent);
  assert.equal(await title(), here[0].name);
  const choose = (/** @type {string} */ selector) => page.$$eval(selector, (found) => found[1].click());
  await choose(".panel .tested");
  assert.equal(await title(), here[1].name);
  assert.equal((await ask(page, "state")).tested, 1);
  assert.equal(await page.$(".selections"), null);
  assert.deepEqual(await page.$$eval(".tested-sets button", (found) => found.map((one) => one.getAttribute("aria-pressed"))), ["false", "true"]);
  await page.$$eval(".tested-sets button", (found) => found[0].click());
  assert.equal(await title(), here[0].name);
  // Of sets that are hidden nothing is shown, and nothing at all of a prompt without any.
  await page.$$eval("#sets input", (found) => found[0].click());
  assert.equal(await title(), here[1].name);
  await page.select("#prompt", "1");
  await page.waitForFunction("tributary.state().prompt === 1");
  assert.equal(await page.$eval("#evaluation-choice", (found) => found.hidden), true);
  assert.ok(second.length === 1);
  assert.deepEqual(problems, []);
  await page.close();
});

test("how a set was optimised is drawn", async () => {
  const { page } = await open(browser, "nasty.html");
  const rows = await page.$$eval(".curve tr", (found) => found.map((row) => [...row.children].map((cell) => cell.textContent)));
  assert.deepEqual(rows, [["alive (L0)", "499", "", "0"], ["loss", "0.5", "", "0.5"]]);
  const points = await page.$$eval(".curve polyline", (found) => found.map((line) => line.getAttribute("points").split(" ").map((point) => point.split(",").map(Number))));
  // One falls from the top to the bottom, the other stays in the middle.
  assert.deepEqual([points[0][0], points[0].at(-1)], [[0, 1], [120, 21]]);
  assert.ok(points[1].every(([, y]) => y === 11));
  await page.close();
});
