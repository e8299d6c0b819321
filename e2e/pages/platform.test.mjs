// The platform's page in a real browser: with and without its script, by keyboard, and how the page looks (target/pages/*.png).
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";

import { serve, target } from "./service.mjs";

const require = createRequire(path.join(target, "pages/node/"));
const { chromium } = require("playwright-core");
const axe = require("axe-core");

// No connection of the browser's own: only this page is under test.
const FLAGS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// Chromium's sandbox refuses to work for root.
if (process.getuid() === 0) FLAGS.push("--no-sandbox");
const MESSAGE = "<b>Hello</b> & welcome";

let service;
let browser;

before(async () => {
  service = await serve("services/platform/spin.toml", { MESSAGE, APP_VERSION: "1.2.3", CLUSTER_NAME: "east" });
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
});
after(async () => {
  await browser?.close();
  service?.stop();
});

/** Opens the page; `page.complaints` collects errors of its script and breaches of its policy. */
const open = async (options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  assert.equal((await page.goto(service.url)).status(), 200);
  return page;
};

const shown = (page, member) => page.locator(`[data-member="${member}"]`).textContent();

test("the page shows the backend's data with and without its script", async () => {
  for (const javaScriptEnabled of [true, false]) {
    const page = await open({ javaScriptEnabled });
    assert.equal(await shown(page, "message"), MESSAGE);
    assert.equal(await shown(page, "version"), "1.2.3");
    assert.equal(await shown(page, "cluster"), "east");
    // Without the script, the link loads the page.
    const asked = page.waitForResponse((response) => new URL(response.url()).pathname === (javaScriptEnabled ? "/api/data" : "/"));
    await page.getByRole("link", { name: "Ask again" }).click();
    assert.equal((await asked).status(), 200);
    await page.getByRole("status").filter({ hasText: "The backend has answered." }).waitFor();
    assert.equal(await shown(page, "message"), MESSAGE);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }
});

test("the keyboard alone asks again, and a failure is told", async () => {
  const page = await open();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "refresh");
  await page.route("**/api/data", (route) => route.fulfill({ status: 200, body: JSON.stringify({ message: "again" }) }));
  await page.keyboard.press("Enter");
  await page.locator('[data-member="message"]', { hasText: /^again$/ }).waitFor();
  await page.unroute("**/api/data");
  await page.route("**/api/data", (route) => route.fulfill({ status: 200, body: "no JSON" }));
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "The backend does not answer" }).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test("axe-core finds nothing at any width in both colour schemes, and nothing is cut off", async () => {
  for (const width of [360, 1280]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open({ colorScheme, viewport: { width, height: 900 } });
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map((violation) => `${violation.id}: ${violation.help}`), [], `${width} ${colorScheme}`);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width}`);
      await page.screenshot({ path: path.join(target, "pages", `platform-${colorScheme}-${width}.png`) });
      await page.context().close();
    }
  }
});
