// The page /docs in a real browser: what it shows, what "Try it" sends, and how the page looks (target/pages/*.png).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";

import { start, target } from "./service.mjs";

const require = createRequire(path.join(target, "pages/node/"));
const { chromium } = require("playwright-core");
const axe = require("axe-core");

const TOKEN = "administrators-token";
// No connection of the browser's own: only this page is under test.
const FLAGS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// Chromium's sandbox refuses to work for root.
if (process.getuid() === 0) FLAGS.push("--no-sandbox");

let service;
let browser;

before(async () => {
  service = await start({ ADMIN_TOKEN: TOKEN });
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
});
after(async () => {
  await browser?.close();
  service?.stop();
});

/** Opens the page; `page.complaints` collects errors of its script and breaches of its policy. */
const open = async (options = {}, url = `${service.url}/docs`) => {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  page.setDefaultTimeout(20_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    // Chromium reports each 4xx that a script asked for, too.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.complaints.push(message.text());
  });
  const response = await page.goto(url);
  assert.equal(response.status(), 200);
  return page;
};

const finish = async (page) => {
  assert.deepEqual(page.complaints, []);
  await page.close();
};

/** Opens an operation, fills its fields by name, sends the request, and reads what the page then shows. */
const attempt = async (page, operation, fields = {}) => {
  const part = page.locator(`#${operation}`);
  if (!(await part.evaluate((details) => details.open))) await part.locator("summary").click();
  for (const [name, value] of Object.entries(fields)) {
    const field = part.locator(`[name="${name}"]`);
    if (await field.evaluate((element) => element.tagName) === "SELECT") await field.selectOption(value);
    else await field.fill(value);
  }
  await part.getByRole("button", { name: "Try it" }).click();
  await part.locator(".good, .bad").waitFor();
  const text = async (selector) => {
    const found = part.locator(selector);
    return (await found.isVisible()) ? await found.innerText() : null;
  };
  return {
    part,
    status: await text(".status"),
    why: await text(".why"),
    headers: await text(".headers pre"),
    body: await text(".body pre"),
    note: await text(".body i"),
    curl: await text(".curl"),
  };
};

test("every operation of the OpenAPI document has a form with its parameters", async () => {
  const page = await open();
  const api = await (await fetch(`${service.url}/openapi.json`)).json();
  assert.equal(await page.title(), api.info.title);
  const resolve = (node) => node.$ref?.slice(2).split("/").reduce((at, key) => at[key], api) ?? node;
  let operations = 0;
  for (const [route, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const form = page.locator(`#${operation.operationId} form`);
      assert.equal(await form.getAttribute("data-path"), route);
      assert.equal(await form.getAttribute("data-method"), method.toUpperCase());
      const names = await form.locator("[data-in]").evaluateAll((fields) => fields.map((field) => field.name));
      const expected = (operation.parameters ?? []).map((parameter) => resolve(parameter).name);
      if (operation.security) expected.push("Authorization");
      assert.deepEqual(names, [...expected, "Accept"]);
      operations += 1;
    }
  }
  assert.equal(await page.locator("form").count(), operations);
  await finish(page);
});

test("an operation shows status, time, headers and body, and curl gets the same", async () => {
  const page = await open();
  const shown = await attempt(page, "gists", { username: "octocat", page: "2", per_page: "3" });
  assert.match(shown.status, /^200 OK \d+ ms, [\d,]+ bytes$/);
  assert.match(shown.headers, /^content-type: application\/json$/m);
  assert.match(shown.headers, /^cache-status: gists; fwd=/m);
  assert.equal(shown.why, null);
  const body = JSON.parse(shown.body);
  assert.equal(body.data.length, 3);
  assert.ok(shown.body.includes("\n  \"data\": [\n"), "the body is indented");
  await shown.part.getByRole("button", { name: "Raw" }).click();
  const raw = await shown.part.locator(".body pre").innerText();
  assert.ok(raw.startsWith('{"data":['), raw.slice(0, 40));

  assert.equal(shown.curl, `curl -i '${service.url}/octocat?page=2&per_page=3' -H 'Accept: application/json'`);
  const same = execFileSync("sh", ["-c", shown.curl], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  assert.match(same, /^HTTP\/1.1 200 OK\r\n/);
  assert.deepEqual(JSON.parse(same.split("\r\n\r\n")[1]).data, body.data);

  // The browser's own cache must not answer: the second response says that it is the service's.
  const again = await attempt(page, "gists");
  assert.match(again.headers, /^cache-status: gists; hit/m);
  const etag = /^etag: (.*)$/m.exec(again.headers)[1];
  const unchanged = await attempt(page, "gists", { "If-None-Match": etag });
  assert.match(unchanged.status, /^304 Not Modified/);
  assert.equal(unchanged.body, null);
  await finish(page);
});

test("each operation answers", async () => {
  const page = await open();
  const answers = {
    root: /"healthy"/, health: /"healthy"/, ready: /"ready"/, user_gists: /"data"/, cache_stats: /"hit_rate"/,
    metrics: /# TYPE/, openapi: /"openapi"/, docs: /<!doctype html>/,
  };
  for (const [operation, answer] of Object.entries(answers)) {
    const shown = await attempt(page, operation);
    assert.match(shown.status, /^200 OK/, operation);
    assert.match(shown.body, answer);
  }
  await finish(page);
});

test("an error says what is wrong, as JSON and as a problem document", async () => {
  const page = await open();
  const unknown = await attempt(page, "gists", { username: "nobody" });
  assert.match(unknown.status, /^404 Not Found/);
  assert.equal(unknown.why, "User 'nobody' not found");
  const problem = await attempt(page, "gists", { Accept: "application/problem+json" });
  assert.match(problem.headers, /^content-type: application\/problem\+json$/m);
  assert.equal(problem.why, "User 'nobody' not found");
  assert.equal(JSON.parse(problem.body).status, 404);
  for (const accept of ["application/json", "application/problem+json"]) {
    const invalid = await attempt(page, "gists", { page: "0", per_page: "x", Accept: accept });
    assert.match(invalid.status, /^422 Unprocessable/);
    assert.match(invalid.why, /query page: Input should be greater than or equal to 1/);
    assert.match(invalid.why, /query per_page: /);
  }
  await finish(page);
});

test("a path's field is required, and is sent as one segment", async () => {
  const page = await open();
  const { part, curl, status } = await attempt(page, "gists", { username: "a/b?c#d'e" });
  assert.match(status, /^404/);
  assert.ok(curl.includes(`${service.url}/a%2Fb%3Fc%23d'\\''e'`), curl);
  await part.locator("[name=username]").fill("");
  await part.getByRole("button", { name: "Try it" }).click();
  assert.ok(await part.locator("[name=username]").evaluate((field) => field.matches(":invalid:focus")));
  await finish(page);
});

test("clearing the cache takes the token, which the command does not show", async () => {
  const page = await open();
  const refused = await attempt(page, "clear_cache");
  assert.match(refused.status, /^401 Unauthorized/);
  assert.match(refused.headers, /^www-authenticate: Bearer/m);
  assert.ok(refused.why);
  const cleared = await attempt(page, "clear_cache", { Authorization: TOKEN });
  assert.match(cleared.status, /^200 OK/);
  assert.equal(cleared.curl,
    `curl -i -X DELETE '${service.url}/cache' -H "Authorization: Bearer $TOKEN" -H 'Accept: application/json'`);
  assert.equal(await cleared.part.locator("[name=Authorization]").getAttribute("type"), "password");
  await finish(page);
});

test("no answer at all is told, and the next attempt works", async () => {
  const page = await open();
  await page.route("**/health", (route) => route.abort("connectionrefused"));
  const shown = await attempt(page, "health");
  assert.match(shown.status, /^No answer/);
  assert.match(shown.why, /GET \/health got no answer/);
  assert.equal(shown.body, null);
  await page.unroute("**/health");
  assert.match((await attempt(page, "health")).status, /^200 OK/);
  await finish(page);
});

test("a large body is cut", async () => {
  const page = await open();
  const limit = 256 * 1024;
  for (const [size, note] of [[limit, null], [limit + 1, "the first 256 KiB; the rest was not read"]]) {
    await page.route("**/metrics", (route) => route.fulfill({ body: "x".repeat(size), contentType: "text/plain" }));
    const shown = await attempt(page, "metrics");
    assert.equal(shown.body.length, limit);
    assert.equal(shown.note || null, note);
    await page.unroute("**/metrics");
  }
  await finish(page);
});

test("markup in a response stays text", async () => {
  const page = await open();
  const markup = "<img src=x onerror=alert(1)>";
  await page.route("**/health", (route) => route.fulfill({ status: 500, json: { detail: markup }, headers: { "x-markup": markup } }));
  const shown = await attempt(page, "health");
  assert.equal(shown.why, markup);
  assert.equal(await page.locator("img").count(), 0);
  await finish(page);
});

test("the page works below a path of a gateway", async (context) => {
  const gateway = http.createServer((request, response) => {
    if (!request.url.startsWith("/some/api/")) return response.writeHead(404).end();
    const { method, headers } = request;
    request.pipe(http.request(service.url + request.url.slice("/some/api".length), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }));
  });
  context.after(() => {
    gateway.close();
    gateway.closeAllConnections();
  });
  await new Promise((resolve) => gateway.listen(0, "127.0.0.1", resolve));
  const prefix = `http://127.0.0.1:${gateway.address().port}/some/api`;
  const page = await open({}, `${prefix}/docs`);
  const shown = await attempt(page, "user_gists", { username: "octocat" });
  assert.match(shown.status, /^200 OK/);
  assert.ok(shown.curl.includes(`${prefix}/users/octocat/gists`), shown.curl);
  assert.equal((await page.request.get(await page.getByRole("link", { name: "openapi.json" }).evaluate((link) => link.href))).status(), 200);
  await finish(page);
});

test("without JavaScript the page is documentation", async () => {
  const page = await open({ javaScriptEnabled: false });
  await page.locator("#gists summary").click();
  for (const text of ["How many gists a page holds at most.", "GitHub's rate limit is reached, and no copy is stored."]) {
    assert.ok(await page.locator("#gists").getByText(text).isVisible(), text);
  }
  assert.equal(await page.locator("input:visible, select:visible, button:visible").count(), 0);
  assert.ok(await page.getByText("With JavaScript, this page can also send requests.").isVisible());
  await page.screenshot({ path: `${target}/pages/without-javascript.png`, fullPage: true });
  await page.close();
});

test("the keyboard alone is enough, and links open what they point to", async () => {
  const page = await open();
  const focused = (selector) => page.evaluate((wanted) => document.activeElement.matches(wanted), selector);
  const walkTo = async (selector) => {
    for (let step = 0; step < 60 && !(await focused(selector)); step += 1) await page.keyboard.press("Tab");
    assert.ok(await focused(selector), selector);
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none");
  };
  await walkTo("#gists summary");
  await page.keyboard.press("Enter");
  await walkTo("#gists [name=username]");
  await page.keyboard.press("Enter");
  await page.locator("#gists .good").waitFor();
  await walkTo("#gists .body pre");
  await walkTo("#gists a[href='#schema-Gists']");
  await page.keyboard.press("Enter");
  await page.locator("#schema-Gists[open]").waitFor();
  await finish(page);
  const direct = await open({}, `${service.url}/docs#clear_cache`);
  assert.ok(await direct.locator("#clear_cache[open]").isVisible());
  await finish(direct);
});

for (const colorScheme of ["light", "dark"]) {
  test(`${colorScheme}: accessible, and never wider than the window`, async () => {
    for (const width of [320, 390, 1280]) {
      const page = await open({ colorScheme, viewport: { width, height: 900 } });
      await page.screenshot({ path: `${target}/pages/${colorScheme}-${width}-closed.png`, fullPage: true });
      const { part } = await attempt(page, "gists", { username: "octocat", per_page: "2" });
      await part.evaluate((details) => details.scrollIntoView());
      await page.screenshot({ path: `${target}/pages/${colorScheme}-${width}-answer.png` });
      await attempt(page, "clear_cache");
      await attempt(page, "metrics");
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => details.open = true));
      await page.screenshot({ path: `${target}/pages/${colorScheme}-${width}-open.png`, fullPage: true });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(overflow, 0, `${width} px: content is ${overflow} px wider`);
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), []);
      await finish(page);
    }
  });
}
