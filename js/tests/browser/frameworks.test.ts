/**
 * The entries for React and TanStack DB in a real browser, over the client that hubs serve.
 */

import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect } from "vitest";
import { type HubOptions, TestHub } from "../stories/hub.js";
import { TASKS } from "../stories/world.js";
import { bundled } from "./built.js";
import { type Browse, connect, inChromium, open } from "./chromium.js";
import type { Task } from "./pages/tanstack.js";

const ASKED: HubOptions = {
  ...TASKS,
  track: { project: {}, task: { merge: { title: "ask" } } },
};

let hub: TestHub;

beforeEach(async () => {
  hub = await TestHub.start(ASKED);
});
afterEach(() => hub.close());

async function pageWith(browse: Browse, name: string): Promise<Page> {
  const context = await browse();
  const page = await open(context, hub);
  await connect(page, hub);
  await page.waitForFunction(() => window.db.status.phase === "live");
  await page.addScriptTag({ path: await bundled(`pages/${name}.ts`), type: "module" });
  return page;
}

const says = (page: Page, id: string, text: string) =>
  page.waitForFunction(
    ([place, wanted]) => document.getElementById(place!)?.textContent === wanted,
    [id, text],
  );

inChromium("React shows rows, one row and the status, and renders what changed", async (browse) => {
  const page = await pageWith(browse, "react");
  await page.waitForFunction(() => window.beginReact !== undefined);
  await page.evaluate(() => window.beginReact(window.db));
  await says(page, "rows", "2");
  await says(page, "long", "1");
  await says(page, "first", "Buy milk");
  await says(page, "status", "live 0");
  const titles = () => page.locator("li").allTextContents();
  expect(await titles()).toEqual(["Buy milk", "Paint"]);

  // Rows that did not change are the same objects, and what is written again is nothing new.
  const before = await page.evaluate(() => ({ ...window.renderings }));
  await page.evaluate(() => window.db.table("task").create("t3", { title: "Call Ada" }));
  await says(page, "rows", "3");
  await says(page, "long", "2");
  expect(await titles()).toEqual(["Buy milk", "Call Ada", "Paint"]);
  await says(page, "status", "live 0");
  const after = await page.evaluate(() => ({ ...window.renderings }));
  expect([after.t1, after.t2]).toEqual([before.t1, before.t2]);
  expect(after.app! - before.app!).toBeLessThan(40);

  await hub.sql("update task set title = 'Buy bread' where id = 't1'");
  await says(page, "first", "Buy bread");
  await page.evaluate(() => window.choose(true));
  await says(page, "rows", "0");
  await hub.sql("delete from task where id = 't1'");
  await says(page, "first", "gone");

  // Nothing more happens by itself.
  const still = await page.evaluate(async () => {
    const count = window.renderings.app;
    for (let turn = 0; turn < 20; turn += 1) await new Promise(requestAnimationFrame);
    return [count, window.renderings.app];
  });
  expect(still[0]).toBe(still[1]);
});

inChromium("React shows no rows of the database before as those of another", async (browse) => {
  const page = await pageWith(browse, "react");
  await page.waitForFunction(() => window.beginReact !== undefined);
  await page.evaluate(() => window.beginReact(window.db));
  await says(page, "rows", "2");
  await hub.sql("delete from task where id = 't2'");
  await says(page, "rows", "1");
  await page.evaluate(async (token) => {
    const other = await window.reunite.connect("/", { token, name: "another user's" });
    await other.table("task").update("t1", { title: "Another user's" });
    window.shown = [];
    window.showOther(other);
  }, hub.token);
  await page.waitForFunction(() => window.shown.at(-1)?.[1]?.[0] === "Another user's");
  const shown = await page.evaluate(() => window.shown);
  for (const [isFirst, titles] of shown) {
    if (!isFirst && titles !== undefined) expect(titles).toEqual(["Another user's"]);
  }
});

inChromium("React goes on when a database was closed under it", async (browse) => {
  const page = await pageWith(browse, "react");
  await page.waitForFunction(() => window.beginReact !== undefined);
  await page.evaluate(() => window.beginReact(window.db));
  await says(page, "rows", "2");
  await page.evaluate(() => window.db.close());
  await says(page, "status", "stopped 0");
  await page.evaluate(() => window.choose(true)); // another query
  const before = await page.evaluate(() => window.renderings.app!);
  await page.evaluate(() => window.choose(false));
  await page.waitForFunction((count) => window.renderings.app! > count, before);
  await says(page, "status", "stopped 0");
});

inChromium("React shows conflicts until somebody has decided", async (browse) => {
  const page = await pageWith(browse, "react");
  await page.waitForFunction(() => window.beginReact !== undefined);
  await page.evaluate(() => window.beginReact(window.db));
  await says(page, "conflicts", "");
  await page.context().setOffline(true);
  await page.waitForFunction(() => window.db.status.phase === "offline");
  await page.evaluate(() => window.db.table("task").update("t1", { title: "Mine" }));
  await hub.sql("update task set title = 'Theirs' where id = 't1'");
  await page.context().setOffline(false);
  await says(page, "conflicts", "Theirs");
  await page.evaluate(async () => {
    const [conflict] = await window.db.conflicts();
    await window.db.decide(conflict!.id, "Ours");
  });
  await says(page, "conflicts", "");
  await says(page, "first", "Ours");
});

inChromium("a collection of TanStack DB follows the replica, and writes to it", async (browse) => {
  const page = await pageWith(browse, "tanstack");
  await page.waitForFunction(() => window.makeCollections !== undefined);
  const state = () =>
    page.evaluate(() => window.collections.open.toArray.map((t) => t.title).sort());
  await page.evaluate(async () => {
    window.collections = window.makeCollections(window.db);
    await window.collections.open.preload();
  });
  expect(await state()).toEqual(["Buy milk", "Paint"]);

  // Written offline: done when the replica has it, and what it says meanwhile never falls back.
  await page.context().setOffline(true);
  await page.waitForFunction(() => window.db.status.phase === "offline");
  const seen = await page.evaluate(async () => {
    const { tasks } = window.collections;
    const lengths: number[] = [];
    tasks.subscribeChanges(() => lengths.push(tasks.size));
    const made = { id: "t3", title: "Call Ada", hours: 2, done: false };
    await tasks.insert(made as Task).isPersisted.promise;
    await tasks.update("t1", (task) => {
      task.done = true;
    }).isPersisted.promise;
    await tasks.delete("t2").isPersisted.promise;
    return lengths;
  });
  expect(seen.join()).toMatch(/^3(,3)*(,2)*$/);
  expect(await state()).toEqual(["Call Ada"]);
  expect(await page.evaluate(() => window.db.status.pending)).toBe(3);

  await page.context().setOffline(false);
  const rows = () => hub.sql("select id, hours, done from task order by id");
  await expect.poll(rows, { timeout: 60_000 }).toEqual([
    ["t1", 1, 1],
    ["t3", 2, 0],
  ]);
  await hub.sql("insert into task (id, title) values ('t4', 'From the hub')");
  await page.waitForFunction(() => window.collections.open.size === 2);
  expect(await state()).toEqual(["Call Ada", "From the hub"]);

  // What the replica refuses is undone in the collection.
  const code = await page.evaluate(async () => {
    const { tasks } = window.collections;
    const unfit = { id: "t5", title: null, hours: "many", done: false } as unknown as Task;
    try {
      await tasks.insert(unfit).isPersisted.promise;
    } catch (error) {
      return [(error as { code: string }).code, tasks.has("t5")];
    }
    return null;
  });
  expect(code).toEqual(["bad-request", false]);
});
