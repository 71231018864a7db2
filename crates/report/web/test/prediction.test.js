import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, launch, open, readJson } from "./page.js";

/** @type {import("puppeteer-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const { sets, prompts, output_tokens: tokens } = readJson("nasty.json");
const here = sets.filter((set) => set.prompt === 0);

test("every set says how far it is from the target model, where that is known", async () => {
  const { page, problems } = await open(browser, "nasty.html");
  const said = await page.$$eval(".panel", (panels) => panels.map((panel) => {
    const found = panel.querySelector(".prediction");
    return found && { text: found.textContent, title: found.title, far: found.classList.contains("far") };
  }));
  assert.equal(said.length, here.length);
  said.forEach((found, place) => {
    const { prediction } = here[place];
    if (prediction === null) return assert.equal(found, null);
    assert.ok(found.text.endsWith(`${prediction.agreeing} of ${prediction.positions} alike`), found.text);
    const shown = Number(found.text.match(/KL ([\d.]+)/)[1]);
    assert.ok(Math.abs(shown - prediction.mean_kl) <= 0.005 * prediction.mean_kl, found.text);
    assert.equal(found.far, prediction.is_far);
    assert.equal(found.title.includes("predicts something else than the target model"), prediction.is_far);
  });
  assert.ok(here.some(({ prediction }) => prediction?.is_far) && here.some(({ prediction }) => prediction && !prediction.is_far));
  assert.deepEqual(problems, []);
  await page.close();
});

test("a selected node shows what comes next in the target model and in every set", async () => {
  const { page, problems } = await open(browser, "nasty.html");
  const position = 1;
  await page.type("#search", `wte @${position}`);
  await page.keyboard.press("Enter");
  const rows = await page.$$eval(".predictions tr", (found) => found.slice(1).map((row) => [...row.children].map((cell) => cell.textContent)));
  const known = here.filter(({ prediction }) => prediction !== null);
  assert.equal(rows.length, known.length);
  rows.forEach(([, kl], place) => assert.ok(Math.abs(Number(kl) - known[place].prediction.kl[position]) < 0.005 * Number(kl) + 1e-9, kl));
  // Those that differ from the target model's likeliest are marked.
  const marked = await page.$$eval(".predictions td.token", (found) => found.map((cell) => cell.classList.contains("warning")));
  const likeliest = prompts[0].target_likeliest[position][0].token;
  assert.deepEqual(marked, known.map(({ prediction }) => prediction.likeliest[position] !== likeliest));
  const text = await page.$eval(".predictions p", (found) => found.textContent);
  assert.ok(text.startsWith("Target model: ") && text.includes("50 %"), text);
  assert.ok(Object.keys(tokens).length > 0);
  // An output node has the target model's probability beside its own.
  const node = here[0].nodes.find(({ target_probability: target }) => target !== null);
  const [, where, id] = node.node.split(" ");
  await page.keyboard.press("Escape");
  await page.type("#search", `output @${where}`);
  await page.keyboard.press("Enter");
  const heads = await page.$$eval("#details > .scroll .numbers th[scope=col]", (found) => found.map((head) => head.textContent));
  assert.deepEqual(heads.slice(0, 4), ["set", "probability", "target", "logit"], `${where} ${id}`);
  assert.deepEqual(problems, []);
  await page.close();
});
