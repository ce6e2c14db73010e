/**
 * What makes no sense is told at once: a stable code, and what would make some.
 */

import { afterEach, expect, test } from "vitest";
import { type ConnectOptions, connect, connectDSN, type Database } from "../../src/reunite.js";
import { TASKS, World } from "./world.js";

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function world(): Promise<World> {
  const made = await World.with(TASKS);
  worlds.push(made);
  return made;
}

const BAD = { name: "ReuniteError", code: "bad-request" };

/** Typed programs cannot say these things, and others do. */
const anyOf = <Given>(given: unknown): Given => given as Given;

test("options that make no sense are named, and nothing is asked of the hub", async () => {
  const url = "http://127.0.0.1:1/sync";
  const token = "a-token";
  const odd: [string, unknown][] = [
    ["token", undefined],
    ["token", null],
    ...([{}, { token: 5 }, { token: "" }] as const).map((g): [string, unknown] => ["token", g]),
    ["name", { token, name: "" }],
    ["name", { token, name: 5 }],
    ["onProgress", { token, onProgress: 5 }],
    ["transport", { token, transport: {} }],
    ["durability", { token, durability: "full" }],
    ["longIntegers", { token, longIntegers: "number" }],
    ["datetimes", { token, datetimes: "Date" }],
    ...[null, "task", 5, [5], new Map(), new Set(["task"])].map((tables): [string, unknown] => {
      return ["tables", { token, tables }];
    }),
  ];
  for (const [path, options] of odd) {
    const asked = connect(url, anyOf<ConnectOptions>(options));
    await expect(asked, path).rejects.toMatchObject({ ...BAD, details: { path } });
  }
  await expect(anyOf<() => Promise<Database>>(connect)()).rejects.toMatchObject(BAD);
});

test("a token that no header can hold is none, and one is asked for again", async () => {
  const { hub } = await world();
  for (const token of ["ü", "a\nb", () => undefined, async () => null]) {
    const options = { token: anyOf<string>(token), name: "odd tokens", live: false };
    const asked = connect(hub.url, options);
    await expect(asked).rejects.toMatchObject({ code: "not-authenticated" });
  }
  // As a file or a route of text gives it.
  const db = await connect(hub.url, { token: `${hub.token}\n`, name: "odd tokens", live: false });
  await db.close();
});

test("what cannot be written, asked or called back is refused by name", async () => {
  const { db } = await (await world()).device();
  const tasks = db.table<Record<string, unknown>>("task");
  for (const values of [undefined, null, 5, "text", ["x"]]) {
    await expect(tasks.update("t1", anyOf<object>(values))).rejects.toMatchObject(BAD);
    await expect(tasks.create(anyOf<object>(values))).rejects.toMatchObject(BAD);
  }
  const ring: Record<string, unknown> = {};
  ring.itself = ring;
  for (const values of [
    { title: Symbol("x") },
    { title: () => "x" },
    { labels: () => "x" },
    { labels: ring },
  ]) {
    const path = Object.keys(values)[0];
    const refused = expect(tasks.update("t1", values)).rejects;
    await refused.toMatchObject({ ...BAD, details: { path } });
  }
  for (const condition of [undefined, null, 5, "title", ["title"]]) {
    await expect(tasks.where(anyOf<object>(condition)).all()).rejects.toMatchObject(BAD);
    const asked = db.transaction((tx) => tx.where("task", anyOf<object>(condition)));
    await expect(asked).rejects.toMatchObject(BAD);
  }
  expect(() => tasks.orderBy("title", anyOf<"descending">("desc"))).toThrow(/"descending"/);
  for (const limit of [-1, Number.NaN, "x", undefined]) {
    expect(() => tasks.limit(anyOf<number>(limit))).toThrow(/no number of rows/);
  }
  for (const id of [undefined, null, Number.NaN, "x", {}, 7]) {
    await expect(db.discard(anyOf<number>(id))).rejects.toMatchObject(BAD);
    await expect(db.retry(anyOf<number>(id))).rejects.toMatchObject(BAD);
    await expect(db.decide(anyOf<number>(id), 1)).rejects.toMatchObject(BAD);
  }
  for (const callback of [undefined, null, 5, {}]) {
    const none = anyOf<() => void>(callback);
    expect(() => tasks.live(none)).toThrow(/Give a function/);
    expect(() => tasks.liveRow("t1", none)).toThrow(/Give a function/);
    expect(() => db.on("status", none)).toThrow(/Give a function/);
    expect(() => db.transaction(anyOf<() => Promise<void>>(callback))).toThrow(/Give a function/);
  }
  expect(() => db.on(anyOf<"status">("changes"), () => {})).toThrow(/Nothing is told as 'changes'/);
  expect(db.status.pending).toBe(0);
});

test("writes of a transaction that nobody waits for are in it, in their order", async () => {
  const { hub, db } = await (async () => {
    const made = await world();
    return { hub: made.hub, ...(await made.device()) };
  })();
  const keys = await db.transaction((tx) => {
    return Promise.all(["One", "Two", "Three"].map((name) => tx.create("project", { name })));
  });
  expect(new Set(keys).size).toBe(3);
  expect(await Promise.all(keys.map((key) => db.table("project").get(key)))).toMatchObject([
    { name: "One" },
    { name: "Two" },
    { name: "Three" },
  ]);
  await db.transaction(async (tx) => {
    void tx.update("task", "t1", { title: "First" });
    void tx.update("task", "t1", { title: "Last" });
  });
  await db.sync();
  expect(await hub.sql("select title from task where id = 't1'")).toEqual([["Last"]]);
  expect(await hub.sql("select count(*) from project")).toEqual([[4]]);
});

test("a transaction that has ended writes nothing any more", async () => {
  const { db } = await (await world()).device();
  const kept = await db.transaction(async (tx) => [tx]);
  const late = kept[0]!.update("task", "t1", { title: "Late" });
  await expect(late).rejects.toThrow(/has ended: await each/);
  expect(await db.table("task").get("t1")).toMatchObject({ title: "Buy milk" });
});

test("rows that were chosen by a column that went are told of", async () => {
  const made = await world();
  const { hub } = made;
  await hub.migrate("alter table project add column area text");
  const { db } = await made.device({
    tables: {
      project: {
        or: [
          { field: "area", operator: "exact", value: "x" },
          { field: "id", operator: "exact", value: 1 },
        ],
      },
      task: true,
    },
  });
  expect(db.status.staleChoices).toEqual([]);
  const told = new Promise<readonly string[]>((resolve) => {
    db.on("status", ({ staleChoices }) => staleChoices.length > 0 && resolve(staleChoices));
  });
  await hub.migrate("alter table project drop column area");
  await db.sync();
  expect(await told).toEqual(["project"]);
  expect(await db.table("project").all()).toEqual([]);
});

test("a client of dsn-sync that was told nonsense says so, and throws nothing untyped", async () => {
  for (const [url, token] of [
    [undefined, undefined],
    [5, 5],
    [{}, "a.b"],
    ["nope", "a.b"],
    ["http://127.0.0.1:1/sync/001", ""],
    ["http://127.0.0.1:1/sync/001", null],
  ]) {
    const client = connectDSN(anyOf<string>(url), anyOf<string>(token), { maxRetries: 0 });
    expect(await client.create("users", "u1", {})).toBe(false);
    expect(client.lastError?.code).toMatch(/^(unauthorized|refused)$/);
    expect(client.lastError?.message).not.toMatch(/is not a function|Cannot read/);
    await expect(client.getAll("users")).rejects.toMatchObject({ name: "ReuniteError" });
    expect(() => client.onDataChange("users", anyOf<() => void>(5))).toThrow(/Give a function/);
    await client.close();
  }
  const options = { connectionTimeout: 50 };
  for (const odd of [null, 5, options]) {
    const client = connectDSN(
      "http://127.0.0.1:1/sync/001",
      `${"A".repeat(11)}.${"A".repeat(43)}`,
      anyOf(odd),
    );
    if (odd === options) {
      await expect(client.get("users", "u1")).rejects.toMatchObject({ code: "hub-unreachable" });
      expect(await client.create("users", "u1", {})).toBe(false);
      expect(client.lastError).toMatchObject({
        code: "offline",
        message: expect.stringContaining("50 ms"),
      });
    }
    await client.close();
  }
});
