/**
 * Live: what one side commits is on the other at once, over lines that break, and with several tabs.
 */

import { afterEach, beforeEach, expect, test } from "vitest";
import type { ConnectOptions, Database } from "../../src/index.js";
import { DEADLINE_MS, TASKS, until, World } from "./world.js";

let world: World;

// Pauses short enough for a test, and a silence that the hub's signs of life never reach.
const TIMES = { pauseMs: 5, pauseMsMax: 200, firstEventMs: DEADLINE_MS };
const LIVE: Partial<ConnectOptions> = { live: true, times: TIMES };

beforeEach(async () => {
  world = await World.with(TASKS);
});
afterEach(() => world.close());

function isLive(db: Database): Promise<void> {
  return until(() => db.status.phase === "live", "the line is live");
}

async function title(db: Database): Promise<unknown> {
  return (await db.table("task").get("t1"))?.title;
}

test("what is written on one device is on the other without anybody asking", async () => {
  const { db: one } = await world.device(LIVE);
  const { db: two } = await world.device(LIVE);
  await Promise.all([isLive(one), isLive(two)]);
  await one.table("task").update("t1", { title: "Buy oat milk" });
  await until(async () => (await title(two)) === "Buy oat milk", "the other has it");
  await until(() => one.status.pending === 0, "nothing is pending");
  await world.hub.sql("update task set title = 'Buy rice' where id = 't1'");
  await until(async () => (await title(one)) === "Buy rice", "the first has it");
  expect(one.status).toMatchObject({ phase: "live", error: null, isLeader: true });
});

test("a line that breaks is opened again, and what was written meanwhile goes both ways", async () => {
  const { db } = await world.device(LIVE);
  await isLive(db);
  const phases: string[] = [];
  db.on("status", ({ phase }) => phases.push(phase));
  await world.hub.stop();
  await until(() => db.status.phase === "offline", "it is offline");
  expect(db.status.error).toMatchObject({ code: "hub-unreachable" });
  await db.table("task").update("t1", { title: "Offline" });
  await world.hub.startAgain();
  await until(() => db.status.phase === "live" && db.status.pending === 0, "all is sent");
  expect(await world.hub.sql("select title from task where id = 't1'")).toEqual([["Offline"]]);
  expect(phases).toContain("offline");
});

test("where streams do not come through, pulls that wait do", async () => {
  const { fetch } = globalThis;
  const streamless = async (url: string, init: RequestInit): Promise<Response> => {
    if (!url.includes("v1/live")) return fetch(url, init);
    // A proxy that gathers the answer, which never ends.
    return new Promise((_, reject) => {
      init.signal!.addEventListener("abort", () => reject(init.signal!.reason));
    });
  };
  const times = { ...TIMES, firstEventMs: 50, waitMs: 2_000 };
  const { db } = await world.device({ live: true, times, fetch: streamless });
  await until(() => db.status.phase === "polling", "it polls");
  await world.hub.sql("update task set title = 'Polled' where id = 't1'");
  await until(async () => (await title(db)) === "Polled", "the pull brings it");
  await db.table("task").update("t2", { title: "Pushed" });
  await until(() => db.status.pending === 0, "it is sent");
});

test("a hub without streams is asked once a second", async () => {
  const { fetch } = globalThis;
  const streamless = (url: string, init: RequestInit): Promise<Response> => {
    if (!url.includes("v1/live")) return fetch(url, init);
    const headers = { "Reunite-Protocol": "1" };
    return Promise.resolve(new Response(null, { status: 204, headers }));
  };
  const { db } = await world.device({ ...LIVE, fetch: streamless });
  await until(() => db.status.phase === "polling", "it polls");
  await world.hub.sql("update task set title = 'Asked for' where id = 't1'");
  await until(async () => (await title(db)) === "Asked for", "a pull brings it");
  expect(db.status.error).toBeNull();
});

test("a line that falls silent is taken for dead", async () => {
  const { fetch } = globalThis;
  let streams = 0;
  const silent = async (url: string, init: RequestInit): Promise<Response> => {
    if (!url.includes("v1/live")) return fetch(url, init);
    streams += 1;
    if (streams > 1) return fetch(url, init);
    const text = 'event: answered\ndata: {"answered":0}\n\n';
    const body = new ReadableStream({
      start: (control) => control.enqueue(new TextEncoder().encode(text)),
    });
    const headers = { "Content-Type": "text/event-stream", "Reunite-Protocol": "1" };
    return new Response(body, { headers });
  };
  const times = { ...TIMES, silenceMs: 200 };
  const { db } = await world.device({ live: true, times, fetch: silent });
  await until(() => streams > 1, "another stream is opened");
  await world.hub.sql("update task set title = 'Heard' where id = 't1'");
  await until(async () => (await title(db)) === "Heard", "the second stream brings it");
});

test("of two tabs one does the network, and both see everything at once", async () => {
  const { db: first, name } = await world.device(LIVE);
  await isLive(first);
  const { db: second, wire } = await world.device({ ...LIVE, name });
  const seen: unknown[] = [];
  second
    .table("task")
    .where({ id: "t1" })
    .live((rows) => seen.push(rows[0]?.title));
  await until(() => seen.length === 1, "the second tab shows it");
  await first.table("task").update("t1", { title: "From the first tab" });
  await until(() => seen.at(-1) === "From the first tab", "the second tab hears of it");
  await second.table("task").update("t1", { title: "From the second tab" });
  // A tab that follows hears a moment later how much waits.
  const title = async () => (await world.hub.sql("select title from task where id = 't1'"))[0]?.[0];
  await until(async () => (await title()) === "From the second tab", "it is sent");
  await until(() => first.status.pending === 0 && second.status.pending === 0, "it is answered");
  expect(wire.asked).toEqual([]);
  expect(second.status).toMatchObject({ phase: "live", isLeader: false });
  expect(await second.sync()).toMatchObject({ pending: 0 });
  expect(wire.asked).toEqual([]);
});

test("when the leading tab closes, the other one leads", async () => {
  const { db: first, name } = await world.device(LIVE);
  await isLive(first);
  const { db: second } = await world.device({ ...LIVE, name });
  await first.close();
  await until(() => second.status.isLeader && second.status.phase === "live", "the second leads");
  await second.table("task").update("t1", { title: "Still sent" });
  await until(() => second.status.pending === 0, "it is sent");
});

test("a leader whose token is refused leaves the network to a tab with a good one", async () => {
  const [old, fresh] = [await world.hub.tokenFor("owner"), await world.hub.tokenFor("owner")];
  const { db: first, name } = await world.device({ ...LIVE, token: old });
  await isLive(first);
  const { db: second } = await world.device({ ...LIVE, name, token: fresh });
  await until(() => second.status.phase === "live", "the second follows");
  await world.hub.ask({ do: "end", token: old });
  await until(() => second.status.isLeader && second.status.phase === "live", "the second leads");
  await second.table("task").update("t1", { title: "Sent with the good token" });
  await until(() => first.status.pending === 0 && second.status.pending === 0, "it is sent");
  await until(() => first.status.phase === "live", "the first one hears that the line is there");
  expect(first.status).toMatchObject({ error: null, isLeader: false });
  expect(await first.sync()).toMatchObject({ pending: 0 });
});

test("a token that is no longer good is asked for anew", async () => {
  const tokens = ["a token that was taken back", world.hub.token];
  const { db } = await world.device({ token: () => tokens.shift() ?? world.hub.token });
  expect(tokens).toEqual([]);
  expect(await title(db)).toBe("Buy milk");
  const refused = world.device({ token: "a token that was taken back" });
  await expect(refused).rejects.toMatchObject({ code: "not-authenticated" });
});
