// Drives the page of a running server in headless Chromium, as a person would: SCENARIO URL FOLDER [KEY].
// Where another program has to do something, a line says so, and one of standard input is waited for.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, browserPath, scenario, url, folder, key] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const said = createInterface({ input: process.stdin });
async function ask(line) {
  console.log(line);
  await once(said, "line");
}

const browser = await chromium.launch({
  executablePath: browserPath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, reducedMotion: "reduce" });
const faults = [];
// Chromium reports each refused request as an error of the page.
let expected = /^$/;
function follow(page) {
  page.on("console", (message) => {
    if (message.type() === "error" && !expected.test(message.text())) faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  return page;
}
const page = follow(await context.newPage());
page.setDefaultTimeout(60_000);

async function judge(what, subject = page) {
  for (const colorScheme of ["light", "dark"]) {
    await subject.emulateMedia({ colorScheme });
    await subject.evaluate(axe);
    const { violations } = await subject.evaluate(() => globalThis.axe.run());
    const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], `${what}, ${colorScheme}`);
    await subject.screenshot({ path: `${folder}/${scenario}-${what}-${colorScheme}.png`, fullPage: true });
  }
  await subject.emulateMedia({ colorScheme: "light" });
}
// Nothing may be wider than the window.
async function fits(subject = page) {
  const [width, wide] = await subject.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
  assert.ok(wide <= width, `${wide} > ${width}`);
}
async function start(id, change = async () => {}) {
  await page.getByRole("button", { name: "New export" }).click();
  await page.getByLabel("Id").fill(id);
  await change();
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("heading", { name: id, level: 2 }).waitFor();
}
const status = (text) => page.locator("#export-status", { hasText: text }).waitFor();
const fact = (name) => page.locator("dt", { hasText: name }).locator("+ dd").innerText();

const scenarios = {
  async whole() {
    const answer = await page.goto(url);
    assert.match(answer.headers()["content-security-policy"], /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+';/);
    await page.getByText("There are no exports.").waitFor();
    await judge("empty");
    // With the keyboard alone.
    await page.getByRole("button", { name: "New export" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "New export" }).waitFor();
    assert.match(await page.getByLabel("Id").inputValue(), /^export-[0-9t]+$/);
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type("NOT valid");
    await page.keyboard.press("Enter");
    assert.equal(await page.getByRole("dialog").isVisible(), true, "an invalid id is refused by the form");
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type("first");
    await page.getByRole("button", { name: "What would it be?" }).focus();
    await page.keyboard.press("Space");
    await page.getByText(/^[0-9]+ classes, [0-9]+ shards, at most [0-9,]+ objects and /).waitFor();
    await judge("order");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "first", level: 2 }).waitFor();
    await status("succeeded");
    assert.equal(await page.getByRole("button", { name: "Cancel this export" }).isVisible(), false);
    assert.equal(await page.title(), "first · Offloom");
    assert.match(await fact("Folder"), /\/first\/$/);
    // The id is taken now.
    expected = /409/;
    await page.getByRole("button", { name: "New export" }).click();
    await page.getByLabel("Id").fill("first");
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByText(/^export already in progress: /).waitFor();
    await page.keyboard.press("Escape");
    expected = /^$/;
    await page.getByRole("link", { name: /first/ }).click();
    const files = page.locator("#files summary");
    await files.first().waitFor();
    await page.getByRole("heading", { name: "first", level: 2 }).and(page.locator(":focus")).waitFor();
    await files.first().click();
    await page.locator("#files code").nth(1).waitFor();
    await page.setViewportSize({ width: 1280, height: 1040 });
    await page.screenshot({ path: `${folder}/readme.png` });
    await page.setViewportSize({ width: 1280, height: 860 });
    await files.first().click();
    const lines = [];
    for (const file of await files.all()) {
      await file.click();
      const code = file.locator("xpath=..").locator("code");
      await code.nth(1).waitFor();
      lines.push(...await code.allInnerTexts());
    }
    console.log(JSON.stringify({ summaries: await files.allInnerTexts(), lines }));
    await judge("read");
    await page.setViewportSize({ width: 360, height: 740 });
    await fits();
    await judge("phone");
    // Another one begins the list, which says so by itself.
    await ask("start another");
    await page.getByRole("link", { name: /second/ }).waitFor();
    await page.getByLabel("Show").selectOption("failed");
    await page.getByText("There are no exports.").waitFor();
  },
  async running() {
    await page.goto(url);
    await start("held");
    await status("running");
    await page.locator("dt", { hasText: "Rate" }).waitFor();
    await page.locator("dt", { hasText: "Time left" }).waitFor();
    const bar = page.getByRole("progressbar").first();
    assert.ok(await bar.evaluate((bar) => bar.value > 0 && bar.value < bar.max));
    await judge("running");
    await ask("let it pass");
    await status("succeeded");
    await page.locator("#said", { hasText: "held: succeeded" }).waitFor({ state: "attached" });
    await page.getByRole("link", { name: /held succeeded/ }).waitFor();
  },
  async cancel() {
    await page.goto(url);
    await start("unwanted");
    await status("running");
    await page.getByRole("button", { name: "Cancel this export" }).click();
    await page.getByRole("button", { name: "Keep it" }).click();
    await page.getByRole("button", { name: "Cancel this export" }).click();
    await judge("sure");
    await page.getByRole("button", { name: "Cancel the export" }).click();
    await status("canceled");
    await page.getByText("the export was canceled").first().waitFor();
    await judge("canceled");
  },
  async missing() {
    await page.goto(url);
    await start("fails");
    await status("failed");
    assert.notEqual(await page.locator("#export-error").innerText(), "");
    await judge("failed");
    await start("partial", () => page.getByLabel("Succeed without shards that cannot be read").check());
    await status("succeeded in part");
    await page.getByRole("heading", { name: "What is missing" }).waitFor();
    assert.ok(await page.locator("#missing li").count() > 0);
    await judge("partial");
  },
  async keys() {
    expected = /401/;
    await page.goto(url);
    await page.getByRole("dialog", { name: "API key" }).waitFor();
    await judge("key");
    await page.getByLabel("Key or token").fill("wrong");
    await page.keyboard.press("Enter");
    await page.getByText(/^authorization failed/).waitFor();
    await page.getByRole("dialog", { name: "API key" }).waitFor();
    await page.getByLabel("Key or token").fill(key);
    await page.keyboard.press("Enter");
    await page.getByText("There are no exports.").waitFor();
    expected = /^$/;
    await start("mine");
    await status("succeeded");
    await page.reload();
    await status("succeeded");
    assert.equal((await context.cookies()).length, 0);
    // Another tab has no key.
    expected = /401/;
    const other = follow(await context.newPage());
    await other.goto(url);
    await other.getByRole("dialog", { name: "API key" }).waitFor();
  },
};

try {
  await scenarios[scenario]();
  assert.deepEqual(faults, []);
  console.log("done");
} catch (error) {
  await page.screenshot({ path: `${folder}/${scenario}-wrong.png`, fullPage: true });
  throw error;
} finally {
  await browser.close();
  said.close();
}
