/**
 * What a page leaves where others could find it: no token in a URL, in storage or in the console, and
 * nothing of the hub's but the rows that the token may read.
 */

import type { Page } from "playwright-core";
import { expect } from "vitest";
import { TestHub } from "../stories/hub.js";
import { TASKS } from "../stories/world.js";
import { connect, connectSealed, inChromium, open, openSealed } from "./chromium.js";

/** What the page sends and says from now on. */
function overheard(page: Page): { urls: string[]; said: string[] } {
  const [urls, said]: string[][] = [[], []];
  page.on("request", (request) => urls!.push(request.url()));
  page.on("console", (message) => said!.push(message.text()));
  page.on("pageerror", (error) => said!.push(String(error)));
  return { urls: urls!, said: said! };
}

/** All that stands in any storage of the page's origin, as text. */
const stored = (page: Page): Promise<string> =>
  page.evaluate(async () => {
    const found: unknown[] = [{ ...localStorage }, { ...sessionStorage }, document.cookie];
    for (const { name } of await indexedDB.databases()) {
      const database = await new Promise<IDBDatabase>((resolve, reject) => {
        const opening = indexedDB.open(name!);
        opening.onsuccess = () => resolve(opening.result);
        opening.onerror = () => reject(opening.error);
      });
      found.push(name);
      for (const store of database.objectStoreNames) {
        const reading = database.transaction(store).objectStore(store).getAll();
        found.push(
          await new Promise((resolve) => {
            reading.onsuccess = () => resolve(reading.result);
          }),
        );
      }
      database.close();
    }
    return JSON.stringify(found);
  });

const SECRET: typeof TASKS = {
  ...TASKS,
  tables: `${TASKS.tables} create table hidden (id integer primary key, word text);
    insert into hidden values (1, 'the hub keeps this');`,
};

inChromium("no token is in a URL, in storage or in the console", async (browse) => {
  const hub = await TestHub.start(SECRET);
  try {
    const page = await open(await browse(), hub);
    const { urls, said } = overheard(page);
    await connect(page, hub);
    await page.waitForFunction(() => window.db.status.phase === "live");
    await page.evaluate(() => window.db.table("task").create("t3", { title: "A canary" }));
    await page.waitForFunction(() => window.db.status.pending === 0);
    const everything = await stored(page);
    expect(everything).toContain("A canary");
    expect(urls.some((url) => url.includes("v1/live"))).toBe(true);
    for (const text of [...urls, ...said, everything]) {
      expect(text).not.toContain(hub.token);
      expect(text).not.toContain("the hub keeps this");
    }
  } finally {
    await hub.close();
  }
});

inChromium("nor behind a sealed door, where URLs say nothing at all", async (browse) => {
  const house = await TestHub.start({ ...SECRET, sealed: {} });
  try {
    const context = await browse(
      "--host-resolver-rules=MAP shop.test 127.0.0.1",
      "--disable-features=LocalNetworkAccessChecks",
    );
    const page = await openSealed(context, house);
    const { urls, said } = overheard(page);
    await connectSealed(page, house);
    await page.waitForFunction(() => window.db.status.phase === "live");
    const everything = await stored(page);
    expect(everything).toContain("Buy milk");
    const secret = house.token.split(".")[1]!;
    for (const text of [...said, everything]) expect(text).not.toContain(secret);
    expect(urls.length).toBeGreaterThan(2);
    const known = /^http:\/\/shop\.test:\d+\/(sync\/001|client\/[\w-]+\.js)$/; // the last is code
    for (const url of urls) expect(url).toMatch(known);
  } finally {
    await house.close();
  }
});
