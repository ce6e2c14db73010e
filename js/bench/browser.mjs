/**
 * Measures the client in Chromium, and prints what it found as one line of JSON.
 *
 *     node browser.mjs '{"program": …, "url": …, "token": …, "large": …, "small": …, "rounds": …, "writes": …}'
 *
 * `large` and `small` are tables: the one that is cloned whole, and the one that a page watches.
 * Times are milliseconds. The page is the hub's own and loads the client that the hub serves.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const options = JSON.parse(process.argv[2]);
const PAGE = `<!doctype html><script type="module">
import { connect } from "/client.js"; window.connect = connect;</script>`;

async function browsing(work) {
  const folder = mkdtempSync(join(tmpdir(), "reunite-bench-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: options.program,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
  });
  context.setDefaultTimeout(600_000);
  try {
    const page = await context.newPage();
    await page.route("**/a-page", (route) =>
      route.fulfill({ contentType: "text/html", body: PAGE }),
    );
    await page.goto(new URL("a-page", options.url).href);
    await page.waitForFunction(() => window.connect !== undefined);
    return await work(page);
  } finally {
    await context.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A clone, and bare puts of the same rows as objects under their key, in one transaction. */
function clone(page, round) {
  return page.evaluate(
    async ([token, table, number]) => {
      const time = async (work) => {
        const began = performance.now();
        await work();
        return performance.now() - began;
      };
      const name = `clone ${number}`;
      let db;
      const cloned = async () => {
        db = await window.connect("/", { token, tables: [table], name, live: false });
      };
      const put = (rows) =>
        new Promise((resolve, reject) => {
          const opening = indexedDB.open(`puts ${number}`, 1);
          opening.onupgradeneeded = () =>
            opening.result.createObjectStore("rows", { keyPath: "id" });
          opening.onsuccess = () => {
            const transaction = opening.result.transaction("rows", "readwrite");
            const store = transaction.objectStore("rows");
            for (const row of rows) store.put(row);
            transaction.oncomplete = () => resolve(opening.result.close());
            transaction.onabort = () => reject(transaction.error);
          };
        });
      // The clone goes first: what is put are its rows.
      const measured = await time(cloned);
      const rows = await db.table(table).all();
      await db.close();
      const limit = await time(() => put(rows));
      for (const { name: old } of await indexedDB.databases()) indexedDB.deleteDatabase(old);
      return { measured, limit, rows: rows.length };
    },
    [options.token, options.large, round],
  );
}

async function begin(page) {
  await page.evaluate(
    async ([token, table]) => {
      window.db = await window.connect("/", { token, tables: [table], name: "watching" });
      window.came = [];
      window.waiting = new Map();
      window.db.table(table).live((rows) => {
        const now = performance.timeOrigin + performance.now();
        const last = rows.at(-1);
        window.waiting.get(last?.note)?.(now);
        window.came.push([last?.note, now]);
      });
    },
    [options.token, options.small],
  );
  await page.waitForFunction(() => window.db.status.phase === "live" && window.came.length > 0);
}

/** Change the last row, again and again: when each change began, and when its rows came here. */
function write(page, from, writes) {
  return page.evaluate(
    async ([table, first, count]) => {
      const rows = await window.db.table(table).all();
      const { id } = rows.at(-1);
      const times = [];
      for (let number = first; number < first + count; number += 1) {
        const note = `note ${number}`;
        const coming = new Promise((resolve) => window.waiting.set(note, resolve));
        const began = performance.timeOrigin + performance.now();
        await window.db.table(table).update(id, { note });
        times.push([note, began, await coming]);
        // One after the other, as a person does it: the network has time to follow.
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return times;
    },
    [options.small, from, writes],
  );
}

const clones = [];
for (let round = 0; round < options.rounds; round += 1) {
  clones.push(await browsing((page) => clone(page, round)));
}
const { local, remote } = await browsing(async (here) => {
  return browsing(async (there) => {
    await begin(here);
    await begin(there);
    const times = await write(here, 1, options.writes);
    const last = times.at(-1)[0];
    await there.waitForFunction((note) => window.came.some(([said]) => said === note), last);
    const came = new Map(await there.evaluate(() => window.came));
    return {
      local: times.map(([, began, ended]) => ended - began),
      // Quick ones may come together; those that did not come alone are left out.
      remote: times
        .filter(([note]) => came.has(note))
        .map(([note, began]) => came.get(note) - began),
    };
  });
});
console.log(JSON.stringify({ clones, local, remote }));
