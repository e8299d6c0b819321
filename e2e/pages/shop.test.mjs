// The shop in a real browser: a purchase by mouse, by keyboard and without a script, at two widths (target/pages/shop-*.png).
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";

import { serve, target } from "./service.mjs";

const require = createRequire(path.join(target, "pages/node/"));
const { chromium } = require("playwright-core");
const axe = require("axe-core");

// No connection of the browser's own: only the shop is under test.
const FLAGS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// Chromium's sandbox refuses to work for root.
if (process.getuid() === 0) FLAGS.push("--no-sandbox");

let shop;
let browser;

before(async () => {
  shop = await serve("services/techcommerce/spin.toml", { SERVICE_TOKEN: "services-token", ADMIN_TOKEN: "administrators-token" });
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
});
after(async () => {
  await browser?.close();
  shop?.stop();
});

/** A visitor with cookies of its own; `page.complaints` collects errors of the script and breaches of the policy. */
const visit = async (options = {}, at = "/") => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    // Chromium reports each 4xx, too.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.complaints.push(message.text());
  });
  await page.goto(shop.url + at);
  return page;
};

const finish = async (page) => {
  assert.deepEqual(page.complaints, []);
  await page.context().close();
};

const stock = async (product) => (await (await fetch(`${shop.url}/products/${product}/stock`)).json()).stock;

const setStock = async (product, items) => {
  const headers = { authorization: "Bearer administrators-token", "content-type": "application/json" };
  const response = await fetch(`${shop.url}/products/${product}/stock`, { method: "PUT", headers, body: JSON.stringify({ stock: items }) });
  assert.equal(response.status, 200);
};

/** Neither a violation of accessibility, nor content that is wider than the window. */
const check = async (page, what) => {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, `${what}: content is ${overflow} px wider than the window`);
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), [], what);
};

for (const colorScheme of ["light", "dark"]) {
  for (const width of [360, 1280]) {
    test(`${colorScheme}, ${width} px: a whole purchase, accessible on each page`, async () => {
      const page = await visit({ colorScheme, viewport: { width, height: 900 } });
      const picture = async (name) => {
        await check(page, name);
        await page.screenshot({ path: `${target}/pages/shop-${colorScheme}-${width}-${name}.png` });
      };
      const before = await stock("relay-hub");
      await picture("catalogue");

      // The search shows what it finds while people type.
      await page.getByRole("searchbox", { name: "Search" }).fill("relay usb");
      await page.getByText("1 product", { exact: true }).waitFor();
      assert.equal(new URL(page.url()).searchParams.get("q"), "relay usb");
      await page.getByRole("link", { name: "Relay USB-C Hub" }).click();
      await page.getByRole("heading", { name: "Relay USB-C Hub", level: 1 }).waitFor();
      await picture("product");

      // The page stays, and says what happened.
      await page.getByRole("button", { name: "Add to basket" }).click();
      await page.getByText("Relay USB-C Hub is in the basket. The basket has 1 items.").waitFor();
      await page.getByRole("link", { name: "Basket (1)" }).click();
      await page.getByLabel("Quantity of Relay USB-C Hub").fill("2");
      await page.keyboard.press("Tab");
      await page.getByText("Total: 138.00 EUR").waitFor();
      await picture("basket");

      await page.getByRole("link", { name: "Continue to the order" }).click();
      await page.getByRole("checkbox").check();
      await picture("checkout");
      await page.getByRole("button", { name: "Place the order" }).click();
      await page.getByText("Status: Confirmed").waitFor();
      await picture("order");
      assert.equal(await stock("relay-hub"), before - 2);

      await page.getByRole("link", { name: "My orders", exact: true }).click();
      await page.getByRole("link", { name: /^Order [0-9a-f]{8}$/ }).waitFor();
      await picture("orders");
      await finish(page);
    });
  }
}

test("without a script: a whole purchase by forms", async () => {
  const page = await visit({ javaScriptEnabled: false });
  await page.getByRole("searchbox", { name: "Search" }).fill("vault");
  await page.getByLabel("Category").selectOption("storage");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("2 products", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Add to basket Vault Portable SSD" }).click();
  await page.getByRole("heading", { name: "Basket" }).waitFor();
  await page.getByLabel("Quantity of Vault Portable SSD").fill("3");
  await page.getByRole("button", { name: "Update Vault Portable SSD" }).click();
  await page.getByText("Total: 477.00 EUR").waitFor();
  await page.getByRole("link", { name: "Continue to the order" }).click();
  await page.getByRole("checkbox").check();
  await page.getByRole("button", { name: "Place the order" }).click();
  await page.getByText("Status: Confirmed").waitFor();
  await page.context().close();
});

test("the keyboard alone is enough", async () => {
  const page = await visit();
  const name = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.id);
  // Tabs to the element with this text or ID. Each element on the way shows that it has the focus.
  const walkTo = async (wanted) => {
    for (let step = 0; step < 80; step += 1) {
      await page.keyboard.press("Tab");
      const outline = await page.evaluate(() => document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle);
      assert.notEqual(outline, "none", await name());
      if ((await name()) === wanted) return;
    }
    assert.fail(`the keyboard does not reach ${wanted}`);
  };
  await walkTo("Skip to the content");
  await page.keyboard.press("Enter");
  await walkTo("q");
  await page.keyboard.type("tern mechanical");
  await page.getByText("1 product", { exact: true }).waitFor();
  await walkTo("Tern Mechanical Keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Tern Mechanical Keyboard", level: 1 }).waitFor();
  await walkTo("Add to basket Tern Mechanical Keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "Basket (1)" }).waitFor();
  await page.reload();
  await walkTo("Basket (1)");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Basket" }).waitFor();
  await walkTo("Continue to the order");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Your order" }).waitFor();
  await walkTo("agree");
  await page.keyboard.press("Space");
  await walkTo("Place the order");
  await page.keyboard.press("Enter");
  await page.getByText("Status: Confirmed").waitFor();
  await finish(page);
});

test("what is sold meanwhile is said, and the last item goes to one visitor", async () => {
  await setStock("amber-edition", 1);
  const [first, second] = [await visit({}, "/product/amber-edition"), await visit({}, "/product/amber-edition")];
  for (const page of [first, second]) {
    await page.getByText("Only 1 left").waitFor();
    await page.getByRole("button", { name: "Add to basket" }).click();
    await page.getByRole("link", { name: "Basket (1)" }).waitFor();
    await page.goto(`${shop.url}/checkout`);
    await page.getByRole("checkbox").check();
  }
  await first.getByRole("button", { name: "Place the order" }).click();
  await first.getByText("Status: Confirmed").waitFor();
  await second.getByRole("button", { name: "Place the order" }).click();
  await second.getByText("Amber Anniversary Keyboard is sold out. Please remove it.").waitFor();
  await check(second, "refused");
  await second.getByRole("button", { name: "Remove Amber Anniversary Keyboard" }).click();
  await second.getByText("The basket is empty.").waitFor();
  await finish(first);
  await finish(second);
});

test("a second click and a form sent again are one order", async () => {
  const page = await visit({}, "/product/perch-stand");
  const before = await stock("perch-stand");
  await page.getByRole("button", { name: "Add to basket" }).click();
  await page.getByRole("link", { name: "Basket (1)" }).waitFor();
  await page.goto(`${shop.url}/checkout`);
  const form = await page.evaluate(() => {
    document.querySelector("#agree").checked = true;
    return new URLSearchParams(new FormData(document.querySelector("form[action='/checkout']"))).toString();
  });
  const send = (body) => page.evaluate(async (sent) => {
    const response = await fetch("/checkout", { method: "POST", body: new URLSearchParams(sent) });
    return response.url;
  }, body);
  const [once, twice] = await Promise.all([send(form), send(form)]);
  const third = await send(form);
  assert.match(third, /\/order\/[0-9a-f]{32}$/);
  // Of two at the same time, one may be told that the other is being placed.
  for (const url of [once, twice]) assert.ok([third, `${shop.url}/checkout`].includes(url), url);
  assert.equal(await stock("perch-stand"), before - 1);
  await finish(page);
});
