/**
 * The rules of a replica, told as stories with a real hub: those of `tests/pair/` that a browser
 * can live through.
 */

import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Fetch } from "../../src/index.js";
import { TASKS, until, World } from "./world.js";

let world: World;

beforeEach(async () => {
  world = await World.with(TASKS);
});
afterEach(() => world.close());

/** Copy one IndexedDB database into another, as a profile that was copied has it. */
async function copyDatabase(from: string, to: string): Promise<void> {
  const open = (name: string): Promise<IDBDatabase> =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(`reunite:${name}`);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const all = <Result>(request: IDBRequest<Result>): Promise<Result> =>
    new Promise((resolve) => {
      request.onsuccess = () => resolve(request.result);
    });
  const [source, target] = [await open(from), await open(to)];
  for (const name of source.objectStoreNames) {
    const store = source.transaction(name).objectStore(name);
    const [keys, values] = await Promise.all([all(store.getAllKeys()), all(store.getAll())]);
    const into = target.transaction(name, "readwrite").objectStore(name);
    await all(into.clear());
    for (const [index, value] of values.entries()) {
      await all(into.keyPath === null ? into.put(value, keys[index]!) : into.put(value));
    }
  }
  source.close();
  target.close();
}

test("a push whose answer was lost takes effect once (I2)", async () => {
  const { db, wire } = await world.device();
  await db.table("task").update("t1", { hours: 3 });
  wire.losing = 1;
  await expect(db.sync()).rejects.toMatchObject({ code: "hub-unreachable" });
  await db.sync();
  expect(await world.hub.sql("select hours from task where id = 't1'")).toEqual([[3]]);
  expect(await db.pending()).toEqual([]);
});

test("a key that somebody took at the hub meanwhile is given to nobody twice", async () => {
  const { db } = await world.device();
  const key = await db.table("project").create({ name: "Mine" });
  await db.table("task").create("t3", { title: "In mine", project_id: key });
  await world.hub.sql("insert into project values (?, 'Theirs')", key);
  await db.sync();
  const names = await db.table("project").orderBy("name").all();
  expect(names.map((row) => row.name)).toEqual(["Home", "Mine", "Theirs"]);
  expect((await db.table("project").get(key))?.name).toBe("Theirs");
  const mine = names.find((row) => row.name === "Mine");
  expect((await db.table("task").get("t3"))?.project_id).toBe(mine?.id);
  expect(await world.hub.sql("select project_id from task where id = 't3'")).toEqual([[mine?.id]]);
});

test("what hangs on a rejected change is parked with it, sent or not (I9)", async () => {
  const { db, wire } = await world.device();
  await world.hub.sql("create unique index one_name on project (name)");
  const key = await db.table("project").create({ name: "Home" });
  await db.sync().catch(() => {});
  // Written while the rejected project was still shown.
  wire.isCut = true;
  const second = await db.table("project").create({ name: "Home" });
  await db.table("task").create("t3", { title: "Child", project_id: second });
  await db.table("task").create("t4", { title: "Alone" });
  wire.isCut = false;
  await db.sync();
  const codes = (await db.parked()).map((change) => [change.table, change.key, change.code]);
  expect(codes).toEqual([
    ["project", key, "unique"],
    ["project", second, "unique"],
    ["task", "t3", "depends-on-rejected"],
  ]);
  expect(await db.table("task").get("t3")).toBeNull();
  expect(await world.hub.sql("select id from task order by id")).toEqual([["t1"], ["t2"], ["t4"]]);
});

test("a copied replica takes a new identity, and both keep what they wrote (I10)", async () => {
  const { db, name } = await world.device();
  await db.table("task").update("t1", { title: "Before the copy" });
  const { db: place, name: other } = await world.device();
  await place.close();
  await copyDatabase(name, other);
  const { db: copy, wire } = await world.device({ name: other });
  await db.table("task").create("t3", { title: "The original's" });
  await copy.table("task").create("t4", { title: "The copy's" });
  await db.sync();
  await copy.sync();
  await db.sync();
  expect(wire.asked).toContain("register");
  const rows = await world.hub.sql("select id, title from task order by id");
  expect(rows).toEqual([
    ["t1", "Before the copy"],
    ["t2", "Paint"],
    ["t3", "The original's"],
    ["t4", "The copy's"],
  ]);
  expect(await copy.table("task").all()).toEqual(await db.table("task").all());
  expect(await copy.parked()).toEqual([]);
});

test("a hub that was restored from a backup gets again what it lost and what waits", async () => {
  const { db } = await world.device();
  const file = join(world.hub.folder, "hub.db");
  await world.hub.stop();
  copyFileSync(file, `${file}.backup`);
  await world.hub.startAgain();
  await db.table("task").update("t1", { title: "After the backup" });
  await db.sync();
  await db.table("task").update("t2", { title: "Waits" });
  await world.hub.stop();
  copyFileSync(`${file}.backup`, file);
  await world.hub.startAgain();
  await db.sync();
  expect(await world.hub.sql("select title from task order by id")).toEqual([
    ["Buy milk"],
    ["Waits"],
  ]);
  expect((await db.table("task").all()).map((task) => task.title)).toEqual(["Buy milk", "Waits"]);
});

test("a table that gets other columns is sent anew, and what waits in it follows", async () => {
  const { db, wire } = await world.device();
  wire.isCut = true;
  await db.table("task").update("t1", { title: "Waits", labels: ["gone"] });
  await world.hub.migrate("alter table task drop column labels; alter table task add column rank");
  wire.isCut = false;
  await db.sync();
  const task = await db.table("task").get("t1");
  expect(task).toMatchObject({ title: "Waits", rank: null });
  expect(task).not.toHaveProperty("labels");
  expect(await world.hub.sql("select title from task where id = 't1'")).toEqual([["Waits"]]);
  const [parked] = await db.parked();
  expect(parked).toMatchObject({ code: "schema-changed", values: { labels: ["gone"] } });
});

test("rows that changed while the hub had no triggers are compared and fetched", async () => {
  const { db, wire } = await world.device();
  await world.hub.migrate(
    "update task set title = 'Unseen' where id = 't1'; delete from task where id = 't2'",
  );
  await db.sync();
  expect(wire.asked).toContain("repair");
  expect(await db.table("task").all()).toMatchObject([{ id: "t1", title: "Unseen" }]);
});

test("a replica that asks for other tables gets the difference", async () => {
  const { db, name } = await world.device({ tables: ["task"] });
  await db.close();
  const { db: again } = await world.device({ name, tables: ["project"] });
  await again.sync();
  expect(await again.tables()).toEqual(["project"]);
  expect(await again.table("project").all()).toEqual([{ id: 1, name: "Home" }]);
});

test("a transaction too large for one push goes in parts, whole or not at all", async () => {
  const { db, wire } = await world.device();
  const large = "x".repeat(1_000_000);
  await db.transaction(async (tx) => {
    for (let i = 0; i < 10; i += 1) await tx.create("task", `large${i}`, { title: large });
  });
  await db.sync();
  expect(wire.asked.filter((operation) => operation === "push").length).toBe(2);
  expect(await world.hub.sql("select count(*) from task")).toEqual([[12]]);
  expect(await db.pending()).toEqual([]);
});

test("an open conflict is decided by a person", async () => {
  const own = await World.with({
    ...TASKS,
    track: { project: {}, task: { merge: { title: "ask" } } },
  });
  try {
    const { db } = await own.device();
    await db.table("task").update("t1", { title: "Mine" });
    await own.hub.sql("update task set title = 'Theirs' where id = 't1'");
    await db.sync();
    const [conflict] = await db.conflicts();
    expect(conflict).toMatchObject({ isOpen: true, hub: "Theirs", replica: "Mine" });
    expect((await db.table("task").get("t1"))?.title).toBe("Theirs");
    await until(() => db.status.openConflicts === 1, "the status says so");
    await db.decide(conflict!.id, "Ours");
    await db.sync();
    expect(await own.hub.sql("select title from task where id = 't1'")).toEqual([["Ours"]]);
    await until(() => db.status.openConflicts === 0, "nothing is open");
  } finally {
    await own.close();
  }
});

test("rows whose rights are lost leave, and with them what the hub said of them (I6)", async () => {
  const own = await World.with({
    ...TASKS,
    rules: {
      project: "Rules(read=True)",
      task: "Rules(read=row.hours < 10, insert=True, update=row.hours < 100, delete=True)",
    },
  });
  try {
    const { db } = await own.device();
    await db.table("task").update("t1", { title: "Mine" });
    await own.hub.sql("update task set title = 'Secret', hours = 20 where id = 't1'");
    await db.sync();
    expect((await db.table("task").all()).map((task) => task.id)).toEqual(["t2"]);
    for (const { hub, base } of await db.conflicts()) expect([hub, base]).toEqual([null, null]);
    expect(JSON.stringify(await db.parked())).not.toContain("Secret");
  } finally {
    await own.close();
  }
});

const OWN_NOTES = {
  tables: "create table note (id text primary key, owner text not null, body text not null)",
  track: { note: {} },
  rules: {
    note: "Rules(read=row.owner == user.id, insert=True, update=True, delete=True)",
  },
};

test("what one user left to be sent goes to the hub as nobody else's, and is not lost (I10)", async () => {
  const own = await World.with(OWN_NOTES);
  try {
    await own.hub.sql("insert into note values ('1', 'alice', 'hers'), ('2', 'bob', 'his')");
    const [alice, bob] = [await own.hub.tokenFor("alice"), await own.hub.tokenFor("bob")];
    const name = "a replica of two users";
    const { db: hers } = await own.device({ name, token: alice });
    await hers.table("note").update("1", { body: "changed offline" });
    await hers.table("note").create("3", { owner: "alice", body: "written offline" });
    await hers.close();

    const { db: his } = await own.device({ name, token: bob });
    const told: unknown[] = [];
    his.on("rejected", ({ code, key }) => told.push([code, key]));
    expect(await his.sync()).toMatchObject({ pushed: 0, pending: 0 });
    await until(() => told.length === 2, "the page is told");
    expect(told).toEqual([
      ["other-user", "1"],
      ["other-user", "3"],
    ]);
    expect(await his.table("note").all()).toMatchObject([{ id: "2", body: "his" }]);
    const kept = "select id, body from note where owner = 'alice'";
    expect(await own.hub.sql(kept)).toEqual([["1", "hers"]]);
    await his.table("note").update("2", { body: "his own" });
    await his.close();

    const { db } = await own.device({ name, token: alice });
    await db.sync();
    expect((await db.parked()).map(({ code, key }) => [code, key])).toEqual([
      ["other-user", "1"],
      ["other-user", "3"],
      ["other-user", "2"],
    ]);
    for (const { id, key } of await db.parked()) {
      if (key !== "2") await db.retry(id);
    }
    expect(await db.sync()).toMatchObject({ pushed: 2, rejected: 0, conflicts: 0 });
    expect(await own.hub.sql(kept)).toEqual([
      ["1", "changed offline"],
      ["3", "written offline"],
    ]);
  } finally {
    await own.close();
  }
});

test("what the hub has refused and merged is told, though another user comes (I10)", async () => {
  const own = await World.with(OWN_NOTES);
  try {
    await own.hub.sql("insert into note values ('1', 'alice', 'hers'), ('2', 'carol', 'hidden')");
    const [alice, bob] = [await own.hub.tokenFor("alice"), await own.hub.tokenFor("bob")];
    const name = "a replica that two users share";
    let isCut = false;
    const fetch: Fetch = (url, init) =>
      isCut && url.includes("v1/pull")
        ? Promise.reject(new TypeError("cut"))
        : globalThis.fetch(url, init);
    const { db: hers } = await own.device({ name, token: alice, fetch });
    await own.hub.sql("update note set body = 'at the hub' where id = '1'");
    await hers.table("note").update("1", { body: "offline" });
    await hers.table("note").create("2", { owner: "alice", body: "of the same key" });
    isCut = true;
    await expect(hers.sync()).rejects.toMatchObject({ code: "hub-unreachable" });
    await hers.close();

    const { db: his } = await own.device({ name, token: bob });
    await his.sync();
    expect((await his.parked()).map(({ code, key }) => [code, key])).toEqual([["key-taken", "2"]]);
    expect((await his.conflicts()).map(({ key, column }) => [key, column])).toEqual([
      ["1", "body"],
    ]);
  } finally {
    await own.close();
  }
});

test("values of every type come and go as they are", async () => {
  const own = await World.with({
    tables: `create table thing (
      id uuid primary key, long bigint, price decimal, raw blob, at datetime, day date, doc json, any
    )`,
    track: { thing: {} },
  });
  try {
    const options = { longIntegers: "bigint", datetimes: "date" } as const;
    const { db } = await own.device(options);
    const at = new Date("2024-06-14T09:30:00.250Z");
    const values = {
      long: 9007199254740993n,
      price: "1.25",
      raw: Uint8Array.from([0, 255, 7]),
      at,
      day: "2024-06-14",
      doc: { deep: [1, "reunite:x", null] },
      any: "reunite:tagged?",
    };
    const key = await db.table("thing").create(values);
    await db.sync();
    expect(await db.table("thing").get(key)).toEqual({ id: key, ...values });
    const { db: other } = await own.device(options);
    expect(await other.table("thing").get(key)).toEqual({ id: key, ...values });
    await db.table("thing").update(key, { price: "1e400" });
    expect(await db.sync()).toMatchObject({ pushed: 1, rejected: 1 });
    expect(await db.parked()).toMatchObject([{ code: "bad-value", values: { price: "1e400" } }]);
    expect(await own.hub.sql("select cast(long as text), hex(raw), any from thing")).toEqual([
      ["9007199254740993", "00FF07", "reunite:tagged?"],
    ]);
  } finally {
    await own.close();
  }
});
