// Uses the page as a cashier does, in a headless browser:
//
//     npm install && npm run build
//     ../run ../../target/release node try.js --store http://{store} --hq http://{hq} --page {page} \
//       --tillsync ../../target/release/tillsync [--screenshot till.png]
//
// Serves the page at --page, the origin that the store lets call it. Headquarters is there to switch the mode.

import assert from "node:assert";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";

const { values: options } = parseArgs({
  options: {
    store: { type: "string", default: "http://127.0.0.1:7100" },
    hq: { type: "string", default: "http://127.0.0.1:7200" },
    page: { type: "string", default: "127.0.0.1:8080" },
    tillsync: { type: "string", default: "tillsync" },
    screenshot: { type: "string" },
  },
});
const [host, port] = options.page.split(":");
const FOLDER = fileURLToPath(new URL(".", import.meta.url));

const TYPES = { ".html": "text/html", ".js": "text/javascript" };
const files = createServer(async ({ url }, answer) => {
  const path = normalize(new URL(url, "http://page").pathname);
  try {
    const body = await readFile(join(FOLDER, path));
    answer.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(body);
  } catch {
    answer.writeHead(404).end();
  }
});
await new Promise((resolve) => files.listen(Number(port), host, resolve));

const administer = (...words) => execFileSync(options.tillsync, ["hq", "--hq", options.hq, ...words]);
const switchAsync = (on) => {
  administer("profile", "store-1", "--async", on);
  administer("run", "1070", "store-1");
};

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(error.message));
  await page.setViewport({ width: 420, height: 700 });
  await page.goto(`http://${options.page}/index.html?store=${encodeURIComponent(options.store)}`);

  const says = (words) =>
    page.waitForFunction((words) => document.getElementById("says").textContent.includes(words), { timeout: 30_000 }, words);
  const fill = async (form, fields) => {
    for (const [name, value] of Object.entries(fields)) {
      await page.$eval(`#${form} [name=${name}]`, (input, value) => (input.value = value), value);
    }
    await page.click(`#${form} button`);
  };
  const account = (name) =>
    page.$$eval("#customers tr", (rows, name) => rows.find((row) => row.cells[0].textContent === name)?.cells[1].textContent, name);

  switchAsync("off");
  await fill("create", { first: "Mary", last: "Jackson", email: "mary.jackson@example.com" });
  await says("Mary Jackson is created (SYNC)");
  const real = await account("Mary Jackson");
  assert.notStrictEqual(real, "Pending sync");
  console.log(`SYNC   Mary Jackson: ${real}`);

  switchAsync("on");
  // Nothing brings the account number before the page has shown that there is none.
  for (const job of ["p-job", "customer-sync"]) administer("schedule", job, "--hold", "on");
  await fill("create", { first: "Annie", last: "Easley", email: "annie.easley@example.com" });
  await says("Annie Easley is created (ASYNC)");
  assert.strictEqual(await account("Annie Easley"), "Pending sync");
  console.log("ASYNC  Annie Easley: Pending sync");
  await page.$$eval("#customers tr", (rows) => rows[0].querySelector("button").click());
  await says("CUSTOMER_PENDING");
  console.log("       no loyalty card yet: CUSTOMER_PENDING");
  await fill("create", { first: "", last: "", email: "" });
  await says("INVALID_FIELD");
  console.log("       a customer without a name: INVALID_FIELD");
  if (options.screenshot) await page.screenshot({ path: options.screenshot });

  for (const job of ["p-job", "customer-sync"]) administer("schedule", job, "--hold", "off");
  await page.waitForFunction(
    () => [...document.querySelectorAll("#customers td:nth-child(2)")].every((cell) => cell.textContent !== "Pending sync"),
    { timeout: 60_000 },
  );
  console.log(`       watched: ${await account("Annie Easley")}`);
  await page.$$eval("#customers tr", (rows) => rows[0].querySelector("button").click());
  await says("Card ");
  await fill("search", { name: "easley" });
  await says("1 found");
  console.log("       found by name: 1");
  assert.deepStrictEqual(wrong, []);
} finally {
  await browser.close();
  files.close();
}
