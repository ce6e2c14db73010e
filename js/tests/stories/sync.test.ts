/**
 * A browser replica and a real hub: what is written on either side comes to the other.
 */

import { afterEach, beforeEach, expect, test } from "vitest";
import { TASKS, until, World } from "./world.js";

let world: World;

beforeEach(async () => {
  world = await World.with(TASKS);
});
afterEach(() => world.close());

test("a clone has the hub's rows", async () => {
  const { db } = await world.device();
  const rows = await db.table("task").all();
  expect(rows).toEqual([
    { id: "t1", title: "Buy milk", done: false, hours: 1, labels: null, project_id: 1 },
    { id: "t2", title: "Paint", done: false, hours: 5, labels: null, project_id: 1 },
  ]);
  expect(await db.tables()).toEqual(["project", "task"]);
});

test("what is written offline is there at once, and reaches the hub with the next sync", async () => {
  const { db, wire } = await world.device();
  wire.isCut = true;
  await db.table("task").create("t3", { title: "Call Ada", project_id: 1 });
  await db.table("task").update("t1", { done: true });
  await db.table("task").delete("t2");
  expect((await db.table("task").all()).map((task) => task.id)).toEqual(["t1", "t3"]);
  await expect(db.sync()).rejects.toMatchObject({ code: "hub-unreachable" });
  expect((await db.pending()).map((change) => change.op)).toEqual(["insert", "update", "delete"]);

  wire.isCut = false;
  const report = await db.sync();

  expect(report).toMatchObject({ pushed: 3, rejected: 0, pending: 0 });
  expect(await db.pending()).toEqual([]);
  expect(await world.hub.sql("select id, title, done from task order by id")).toEqual([
    ["t1", "Buy milk", 1],
    ["t3", "Call Ada", 0],
  ]);
});

test("two devices that edit apart come to the same rows", async () => {
  const [{ db: one }, { db: two }] = [await world.device(), await world.device()];
  await one.table("task").update("t1", { title: "Buy oat milk" });
  await two.table("task").update("t1", { done: true });
  await one.sync();
  await two.sync();
  await one.sync();
  const wanted = { title: "Buy oat milk", done: true };
  expect(await one.table("task").get("t1")).toMatchObject(wanted);
  expect(await two.table("task").get("t1")).toMatchObject(wanted);
  expect(await two.conflicts()).toEqual([]);
});

test("one value set on two devices is a conflict, which keeps the value that lost", async () => {
  const [{ db: one }, { db: two }] = [await world.device(), await world.device()];
  await one.table("task").update("t1", { title: "Buy tea" });
  const firstMs = Date.now();
  await until(() => Date.now() > firstMs, "a later millisecond");
  await two.table("task").update("t1", { title: "Buy coffee" });
  const heard: unknown[] = [];
  two.on("conflict", (conflict) => heard.push(conflict.column));
  await one.sync();
  await two.sync();
  const [conflict] = await two.conflicts();
  expect(conflict).toMatchObject({
    table: "task",
    key: "t1",
    column: "title",
    base: "Buy milk",
    hub: "Buy tea",
    replica: "Buy coffee",
    result: "Buy coffee",
  });
  expect(await two.table("task").get("t1")).toMatchObject({ title: "Buy coffee" });
  expect(heard).toEqual(["title"]);
});

test("counters add up, and a pending one is shown on top of the hub's", async () => {
  const [{ db: one }, { db: two, wire }] = [await world.device(), await world.device()];
  await one.table("task").update("t1", { hours: 4 });
  await two.table("task").update("t1", { hours: 2 });
  await one.sync();
  wire.losing = 1;
  await expect(two.sync()).rejects.toMatchObject({ code: "hub-unreachable" });
  expect(await two.table("task").get("t1")).toMatchObject({ hours: 2 });
  await two.table("task").update("t1", { labels: ["late"] });
  await two.sync();
  expect(await two.table("task").get("t1")).toMatchObject({ hours: 5, labels: ["late"] });
  expect(await world.hub.sql("select hours from task where id = 't1'")).toEqual([[5]]);
});

test("a change that the hub refuses is undone and parked with its reason, and can be retried", async () => {
  const { db } = await world.device();
  const heard: string[] = [];
  db.on("rejected", (change) => heard.push(change.code));
  await db.table("task").create("t3", { title: "Fly", project_id: 77 });
  await db.sync();
  expect(await db.table("task").get("t3")).toBeNull();
  const [parked] = await db.parked();
  expect(parked).toMatchObject({ table: "task", key: "t3", code: "foreign-key", op: "insert" });
  expect(heard).toEqual(["foreign-key"]);

  await db.retry(parked!.id, { project_id: 1 });
  await db.sync();

  expect(await db.parked()).toEqual([]);
  expect(await world.hub.sql("select project_id from task where id = 't3'")).toEqual([[1]]);
});

test("a transaction takes effect whole or not at all", async () => {
  const { db } = await world.device();
  await db.transaction(async (tx) => {
    await tx.create("task", "t3", { title: "Cook", project_id: 1 });
    await tx.create("task", "t4", { title: "Fly", project_id: 77 });
  });
  const gone = db.transaction(async (tx) => {
    await tx.create("task", "t5", { title: "Sing" });
    throw new Error("changed my mind");
  });
  await expect(gone).rejects.toThrow("changed my mind");
  expect(await db.table("task").get("t5")).toBeNull();
  await db.sync();
  expect((await db.parked()).map((change) => change.key)).toEqual(["t3", "t4"]);
  expect(await world.hub.sql("select count(*) from task")).toEqual([[2]]);
});

test("a transaction sees what it wrote, and what it read stays as it was", async () => {
  const { db } = await world.device();
  let runs = 0;
  await db.transaction(async (tx) => {
    runs += 1;
    const before = await tx.get<{ hours: number }>("task", "t1");
    // Somebody writes in between: the function runs again.
    if (runs === 1) await db.table("task").update("t1", { hours: 10 });
    await tx.update("task", "t1", { hours: before!.hours + 1 });
    expect(await tx.get("task", "t1")).toMatchObject({ hours: before!.hours + 1 });
    await tx.delete("task", "t2");
    expect(await tx.all("task")).toHaveLength(1);
  });
  expect(runs).toBe(2);
  expect(await db.table("task").get("t1")).toMatchObject({ hours: 11 });
});

test("generated keys made on two devices do not meet", async () => {
  const [{ db: one }, { db: two }] = [await world.device(), await world.device()];
  const first = await one.table("project").create({ name: "Garden" });
  const second = await two.table("project").create({ name: "Office" });
  await one.table("task").create("t3", { title: "Dig", project_id: first });
  await two.table("task").create("t4", { title: "File", project_id: second });
  expect(first).not.toBe(second);
  await one.sync();
  await two.sync();
  await one.sync();
  const found = await world.hub.sql(
    "select t.id, p.name from task t join project p on p.id = t.project_id order by t.id",
  );
  expect(found.slice(2)).toEqual([
    ["t3", "Garden"],
    ["t4", "Office"],
  ]);
  expect(await one.table("project").all()).toEqual(await two.table("project").all());
});

test("live queries hear of local writes and of the hub's", async () => {
  const { db } = await world.device();
  const seen: unknown[][] = [];
  const stop = db
    .table("task")
    .where({ done: false })
    .orderBy("title")
    .live((rows) => {
      seen.push(rows.map((row) => row.title));
    });
  await expect.poll(() => seen.at(-1)).toEqual(["Buy milk", "Paint"]);
  await db.table("task").create("t3", { title: "Cook" });
  await expect.poll(() => seen.at(-1)).toEqual(["Buy milk", "Cook", "Paint"]);
  await world.hub.sql("update task set done = 1 where id = 't1'");
  await db.sync();
  await expect.poll(() => seen.at(-1)).toEqual(["Cook", "Paint"]);
  stop();
});

test("a replica that is opened again has its rows and its pending changes, without a network", async () => {
  const { db, name } = await world.device();
  await db.table("task").update("t1", { done: true });
  await db.close();
  const { db: again, wire } = await world.device({ name });
  expect(wire.asked).toEqual([]);
  expect(await again.table("task").get("t1")).toMatchObject({ done: true });
  expect(await again.pending()).toHaveLength(1);
  await again.sync();
  expect(await world.hub.sql("select done from task where id = 't1'")).toEqual([[1]]);
});

test("only the tables and rows that are asked for come", async () => {
  const { db } = await world.device({
    tables: { task: { field: "hours", operator: "gt", value: 3 } },
  });
  expect(await db.tables()).toEqual(["task"]);
  expect((await db.table("task").all()).map((task) => task.id)).toEqual(["t2"]);
  await world.hub.sql("update task set hours = 2 where id = 't2'");
  await world.hub.sql("update task set hours = 9 where id = 't1'");
  await db.sync();
  expect((await db.table("task").all()).map((task) => task.id)).toEqual(["t1"]);
});

test("what no column can take is refused before anything is written", async () => {
  const { db } = await world.device();
  const tasks = db.table("task");
  const bad = { code: "bad-request" };
  await expect(tasks.create("t3", { titel: "x" })).rejects.toMatchObject(bad);
  await expect(tasks.create("t3", { title: null })).rejects.toMatchObject(bad);
  await expect(tasks.update("t1", { hours: 1.5 })).rejects.toMatchObject(bad);
  await expect(tasks.update("t1", { title: "\ud800" })).rejects.toMatchObject(bad);
  await expect(tasks.create("t1", { title: "x" })).rejects.toMatchObject({ code: "key-exists" });
  await expect(tasks.update("t9", { title: "x" })).rejects.toMatchObject({ code: "no-row" });
  await expect(db.table("tusk").all()).rejects.toMatchObject({ code: "unknown-table" });
  expect(await db.pending()).toEqual([]);
});
