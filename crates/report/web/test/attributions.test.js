import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, enter, launch, open, readJson, showable, sorted, strongest } from "./page.js";

/** @type {import("puppeteer-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/**
 * What the page says of all attributions: in the legend, under "About", and from where on entries are alive.
 * @param {import("puppeteer-core").Page} page
 */
async function said(page) {
  const rows = await page.$$eval("#about dt", (found) => found.map((name) => [name.textContent, name.nextElementSibling?.textContent]));
  const groups = await page.$$eval("#legend .group", (found) => found.map((one) => [...one.children].map((part) => part.textContent)));
  return {
    about: rows.find(([name]) => name === "attributions")?.[1],
    alive: rows.find(([name]) => name?.startsWith("alive"))?.[0],
    legend: groups.find(([title]) => title === "Attributions")?.[1],
  };
}

test("nothing is said of attributions as they were computed in the masked model", async () => {
  const { page } = await open(browser, "nasty.html");
  assert.deepEqual(await said(page), { about: undefined, alive: "alive from", legend: undefined });
  await page.close();
});

test("the page says where attributions were evaluated and how they are looked at", async () => {
  const { attributions } = readJson("viewed.json");
  const { page, problems } = await open(browser, "viewed.html");
  const expected = { about: `${attributions.evaluated}; ${attributions.view}`, alive: "alive above", legend: attributions.view };
  assert.ok(attributions.evaluated.includes("stop at") && attributions.view.includes("same layer"));
  assert.deepEqual(await said(page), expected);
  await page.click("#difference");
  assert.deepEqual(await said(page), expected);
  assert.deepEqual(problems, []);
  await page.close();
});

test("what is shown is the strongest of the attributions as they are looked at", async () => {
  const [set] = readJson("viewed.json").sets;
  const [plain] = readJson("nasty.json").sets;
  const { page } = await open(browser, "viewed.html");
  const [{ key }] = await ask(page, "pictures");
  await enter(page, "top-exact", 5);
  const top = (/** @type {any} */ of) => sorted(strongest(showable(of)).slice(0, 5));
  assert.deepEqual(sorted(await ask(page, "shown", key)), top(set));
  assert.notDeepEqual(top(set), top(plain));
  await page.close();
});
