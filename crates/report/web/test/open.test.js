import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, launch, open, readJson } from "./page.js";

/** @type {import("puppeteer-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const { sets, prompts } = readJson("nasty.json");

for (const report of ["nasty.html", "cut.html", "large.html"]) {
  test(`${report} opens without errors and without the network`, async () => {
    const { page, problems, requests, url } = await open(browser, report);
    assert.deepEqual(problems, []);
    assert.deepEqual(requests.filter((request) => request !== url && !request.startsWith("data:")), []);
    const { script, decoded, ready } = await page.evaluate("tributary.timings");
    console.log(`${report}: script at ${script.toFixed()} ms, decoded at ${decoded.toFixed()} ms, ready at ${ready.toFixed()} ms`);
    // Under 2 s on an idle machine; this one may be busy.
    assert.ok(ready < 20_000);
    await page.close();
  });
}

test("the policy lets no other script run and nothing load", async () => {
  const { page, problems } = await open(browser, "nasty.html");
  const reached = await page.evaluate(async () => {
    const script = document.createElement("script");
    script.textContent = "window.injected = 'by a script'";
    document.body.append(script);
    const image = document.createElement("img");
    image.setAttribute("onerror", "window.injected = 'by an attribute'");
    image.src = "https://example.org/x.png";
    document.body.append(image);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { injected: window.injected, fetched: await fetch("https://example.org/").then(() => true, () => false) };
  });
  assert.deepEqual(reached, { fetched: false });
  assert.ok(problems.every((text) => text.includes("Content Security Policy") || text.includes("ERR_")), problems.join("\n"));
  await page.close();
});

/** What is shown for a text: what cannot be seen is replaced. @param {string} text */
function shownText(text) {
  if (text === "") return "\u2205";
  if (text === " spaced ") return "\u2423spaced\u2423";
  return text.replace("\n", "\\n").replace("\u0000", "\\u0000");
}

test("names are shown as text, whatever is in them", async () => {
  const { page, problems } = await open(browser, "nasty.html");
  for (const prompt of [0, 1]) {
    const here = sets.filter((set) => set.prompt === prompt).map((set) => shownText(set.name));
    if (prompt === 1) {
      await page.select("#prompt", "1");
      await page.waitForFunction("tributary.state().prompt === 1");
    }
    const texts = (/** @type {string} */ selector) => page.$$eval(selector, (found) => found.map((one) => one.textContent));
    assert.deepEqual(await texts(".panel h2 bdi"), here);
    assert.deepEqual(await texts("#sets .set-name bdi"), here);
    assert.deepEqual(await texts("#first option"), here);
    assert.equal(await page.$eval("#prompt-text", (title) => title.textContent), prompts[prompt].text);
  }
  // A selected node shows its token and the sets' names.
  await page.select("#prompt", "0");
  await page.waitForFunction("tributary.state().prompt === 0");
  for (let position = 0; position < 5; position++) {
    await page.type("#search", `wte @${position}`);
    await page.keyboard.press("Enter");
    await page.keyboard.press("Escape");
    assert.equal((await ask(page, "state")).selected, `wte ${position} 0`);
    const [, , token] = await page.$$eval("#details dd", (found) => found.map((one) => one.textContent));
    assert.equal(token, shownText(prompts[0].token_strings[position]).replace(/^ /, "\u2423"));
  }
  assert.deepEqual(await page.$$eval("#details > .scroll .numbers th[scope=row]", (found) => found.map((one) => one.textContent)), sets.filter((set) => set.prompt === 0).map((set) => shownText(set.name)));
  assert.equal(await page.evaluate("window.injected"), undefined);
  assert.equal((await page.$$("img, iframe, object, .panel b b")).length, 0);
  assert.deepEqual(problems, []);
  await page.close();
});

test("metadata that came with a set are shown", async () => {
  const { page } = await open(browser, "nasty.html");
  const [text] = await page.$$eval("#sets pre", (found) => found.map((one) => one.textContent));
  assert.deepEqual(JSON.parse(text), { coefficient: 1e-4, note: sets[0].name });
  await page.close();
});
