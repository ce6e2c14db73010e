/**
 * What hardly ever happens: odd names, answers that no hub gives, clocks that are set.
 */

import { afterEach, expect, test } from "vitest";
import type { Fetch } from "../../src/index.js";
import { LeaseLocks } from "../../src/sealed/lease.js";
import type { HubOptions } from "./hub.js";
import { TASKS, until, World } from "./world.js";

const rightNow = Date.now;
const worlds: World[] = [];
afterEach(async () => {
  Date.now = rightNow;
  for (const world of worlds.splice(0)) await world.close();
});

async function worldWith(options: HubOptions): Promise<World> {
  const world = await World.with(options);
  worlds.push(world);
  return world;
}

test("tables and columns may be called like what every object has", async () => {
  const world = await worldWith({
    tables: `
      create table "constructor" (
        id integer primary key, "toString" text, "__proto__" text, "valueOf" integer not null default 7
      );
      create table "__proto__" ("__proto__" text primary key not null, "hasOwnProperty" text);
      insert into "constructor" values (1, 'a', 'b', 3);
      insert into "__proto__" values ('k', 'v');
    `,
    track: JSON.parse('{"constructor": {}, "__proto__": {}}'),
  });
  const { db } = await world.device();
  const [odd, proto] = [db.table("constructor"), db.table("__proto__")];
  expect((await odd.all()).map((row) => Object.entries(row))).toEqual([
    [
      ["id", 1],
      ["toString", "a"],
      ["__proto__", "b"],
      ["valueOf", 3],
    ],
  ]);
  await odd.create({});
  await odd.create(JSON.parse('{"__proto__": "mine"}'));
  await odd.update(1, JSON.parse('{"__proto__": "changed", "toString": null}'));
  await proto.create("k2", { hasOwnProperty: "x" });
  await db.transaction((tx) => tx.create("__proto__", "k3", {}));
  await proto.delete("k");
  await db.sync();
  expect(db.status.pending + db.status.parked).toBe(0);
  expect(await world.hub.sql('select * from "constructor" order by id')).toEqual([
    [1, null, "changed", 3],
    [2, null, null, 7],
    [3, null, "mine", 7],
  ]);
  expect(await world.hub.sql('select * from "__proto__" order by 1')).toEqual([
    ["k2", "x"],
    ["k3", null],
  ]);
  await world.hub.sql(`update "constructor" set "toString" = 'hub' where id = 2`);
  await db.sync();
  expect(Object.entries((await odd.get(2))!)[1]).toEqual(["toString", "hub"]);
});

test("an answer that no hub gives changes nothing, and the next one is taken", async () => {
  const world = await worldWith(TASKS);
  let change: (operation: string, answer: object) => unknown = (_, answer) => answer;
  const fetch: Fetch = async (url, init) => {
    const response = await globalThis.fetch(url, init);
    const operation = new URL(url).pathname.split("/").at(-1)!;
    const body = JSON.stringify(change(operation, (await response.json()) as object));
    const headers = { "reunite-protocol": response.headers.get("reunite-protocol")! };
    return new Response(body, { status: response.status, headers });
  };
  const { db } = await world.device({ fetch });
  const rows = await db.table("task").all();
  const short = (answer: object) => {
    for (const { puts } of (answer as { tables?: { puts?: unknown[][] }[] }).tables ?? []) {
      for (const row of puts ?? []) row.pop();
    }
    return answer;
  };
  await world.hub.sql("update task set hours = 9 where id = 't1'");
  for (const other of [{}, null, [], "text", 5]) {
    change = (operation, answer) => (operation === "pull" ? other : answer);
    await expect(db.sync()).rejects.toMatchObject({ code: "hub-unreachable" });
  }
  change = (operation, answer) => (operation === "pull" ? short(answer) : answer);
  await expect(db.sync()).rejects.toMatchObject({ code: "hub-unreachable" });
  expect(await db.table("task").all()).toEqual(rows);
  await db.table("task").create("t3", { title: "Mine" });
  for (const other of [{}, null, [], "text", 5]) {
    change = (operation, answer) => (operation === "push" ? other : answer);
    await expect(db.sync()).rejects.toMatchObject({ code: "hub-unreachable" });
  }
  change = (_, answer) => answer;
  expect(await db.sync()).toMatchObject({ pending: 0, rejected: 0 });
  expect(await db.table("task").get("t1")).toMatchObject({ hours: 9 });
  expect(await world.hub.sql("select count(*) from task where id = 't3'")).toEqual([[1]]);
});

test("a clock that is set back an hour does not keep a replica from its hub", async () => {
  const world = await worldWith(TASKS);
  const times = { pauseMs: 500, pauseMsMax: 1_000, firstEventMs: 1_000, silenceMs: 2_000 };
  const { db, wire } = await world.device({ live: true, times });
  await until(() => db.status.phase === "live", "it is live");
  const offline = new Promise<void>((resolve) => {
    db.on("status", ({ phase }) => phase === "offline" && resolve());
  });
  wire.isCut = true;
  await world.hub.stop();
  await offline;
  Date.now = () => rightNow() - 3_600_000;
  await world.hub.ask({ do: "start" });
  wire.isCut = false;
  const deadline = performance.now() + 30_000;
  const isOver = () => performance.now() > deadline;
  await until(() => db.status.phase === "live" || isOver(), "it is live again");
  expect(db.status.phase).toBe("live");
});

test("a lease that a clock ahead of the time wrote is taken when the clock is right", async () => {
  let now = 3_600_000_000;
  const [ahead, right] = [new LeaseLocks(() => now), new LeaseLocks(() => now)];
  await new Promise<void>((begun) => {
    const work = async () => {
      begun();
      await new Promise(() => {});
    };
    const { signal } = new AbortController();
    void ahead.hold("a replica", work, { signal }).catch(() => {});
  });
  now -= 3_600_000;
  expect(await right.tryHold("a replica", async () => {})).toBe(true);
});
