/**
 * The sealed door from the client's end: against a real one, with somebody in between who listens,
 * alters, repeats and swaps.
 */

import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connect, type Database, type Fetch } from "../../src/index.js";
import { Door } from "../../src/sealed/door.js";
import { sealed } from "../../src/sealed/index.js";
import { TestHub } from "../stories/hub.js";
import { TASKS, until } from "../stories/world.js";

type Sent = Uint8Array<ArrayBuffer>;

/** Who stands between a client and the door. */
class Between {
  readonly urls: string[] = [];
  readonly sent: Sent[] = [];
  readonly answers: Sent[] = [];
  /** What becomes of a message and of an answer on their way, from the first request on. */
  alter: (message: Sent) => Sent = (message) => message;
  answer: (answer: Sent) => Sent | Promise<Sent> = (answer) => answer;

  readonly fetch: Fetch = async (url, init) => {
    const body = new Uint8Array(await (init.body as Blob).arrayBuffer());
    const isHello = body[0] === 1;
    const message = isHello ? body : this.alter(body);
    this.urls.push(url);
    this.sent.push(message);
    const response = await fetch(url, { ...init, body: message });
    const answer = new Uint8Array(await response.arrayBuffer());
    this.answers.push(answer);
    const { status, headers } = response;
    return new Response(isHello ? answer : await this.answer(answer), { status, headers });
  };
}

let hub: TestHub;
const open: Database[] = [];

beforeEach(async () => {
  hub = await TestHub.start({ ...TASKS, sealed: {} });
});
afterEach(async () => {
  for (const db of open.splice(0)) await db.close();
  await hub.close();
});

async function device(name: string, options: object = {}): Promise<Database> {
  const given = { token: hub.token, transport: sealed(), name: `${hub.folder} ${name}` };
  const db = await connect(hub.url, { ...given, ...options });
  open.push(db);
  return db;
}

function knock(between = new Between(), token: string | (() => string) = hub.token) {
  const door = new Door(hub.url, token, between.fetch, () => {});
  const ask = (path = "/livez", init: RequestInit = {}) => {
    return door.fetch(`${door.base.slice(0, -1)}${path}`, init);
  };
  return { door, between, ask };
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

describe("a page behind it", () => {
  test("clones, writes and is live, and none of it can be read on the way", async () => {
    const between = new Between();
    const db = await device("writer", {
      transport: sealed({ fetch: between.fetch }),
      live: false,
    });
    await db.table("task").create("t3", { title: "A canary" });
    await db.sync();
    expect(await hub.sql("select title from task where id = 't3'")).toEqual([["A canary"]]);

    const live = await device("reader");
    await until(() => live.status.phase === "live", "it is live");
    const seen: number[] = [];
    live.table("task").live((rows) => seen.push(rows.length));
    await hub.sql("insert into task (id, title) values ('t4', 'From the hub')");
    await until(() => seen.at(-1) === 4, "the row arrives");

    const secret = hub.token.split(".")[1]!;
    for (const bytes of [...between.sent, ...between.answers]) {
      for (const word of ["canary", "v1/push", "POST", "task", secret]) {
        expect(text(bytes)).not.toContain(word);
      }
    }
    expect(new Set(between.urls)).toEqual(new Set([hub.url]));
  });

  test("goes on when the server was started anew, and waits while it is down", async () => {
    const times = { pauseMs: 10, pauseMsMax: 100 };
    const db = await device("patient", { times });
    await until(() => db.status.phase === "live", "it is live");
    await hub.stop();
    await until(() => db.status.phase === "offline", "it notices");
    expect(db.status.error?.code).toBe("hub-unreachable");
    await db.table("task").create("t3", { title: "Meanwhile" });
    await hub.startAgain();
    await until(() => db.status.pending === 0, "it is sent");
    expect(await hub.sql("select count(*) from task")).toEqual([[3]]);
  });

  test("is told of a token that replaces its own, and goes on with it", async () => {
    const given: string[] = [];
    const db = await device("renewed", {
      transport: sealed({ onToken: (token) => given.push(token) }),
      live: false,
    });
    const { token } = await hub.ask({ do: "rotate" });
    await db.sync();
    expect(given).toEqual([token]);
    // Past the end of its session, and of the token that it was given.
    await hub.ask({ do: "pass", seconds: 13 * 3600 });
    await db.sync();
    await hub.ask({ do: "revoke", token: hub.token });
    await db.sync();
  });
});

describe("doors", () => {
  test("ten thousand requests, 64 at a time, cross a hundred doors and none is lost", async () => {
    const { door, ask } = knock();
    const requests = 10_000;
    const doors = new Set<string>();
    let [next, answered] = [0, 0];
    const worker = async () => {
      while (next < requests) {
        next += 1;
        const response = await ask();
        await response.text();
        if (response.ok) answered += 1;
      }
    };
    await Promise.all(Array.from({ length: 64 }, worker));
    expect(answered).toBe(requests);
    const between = new Between();
    const later = knock(between);
    await later.ask();
    for (const url of between.urls) doors.add(url);
    expect([...doors].at(-1)).toBe(`${door.base}101`);
  });

  test("an old address is welcome, and led to the door that is open", async () => {
    const { ask, between } = knock();
    for (let count = 0; count < 250; count += 1) await (await ask()).text();
    const late = knock(new Between());
    expect((await late.ask()).status).toBe(200);
    expect(late.between.urls.map((url) => url.slice(-3))).toEqual(["001", "003"]);
    expect(between.urls.at(-1)).toMatch(/003$/);
  });

  test("a session that is over is followed by another one", async () => {
    const { ask, between } = knock();
    await ask();
    await hub.stop();
    await hub.startAgain();
    expect((await ask()).status).toBe(200);
    expect(between.sent.map(([kind]) => kind)).toEqual([1, 3, 3, 1, 3]);
  });
});

describe("who stands in between", () => {
  const body = JSON.stringify({ protocol: 1, name: "x".repeat(200_000), tables: null, where: {} });
  const long = { method: "POST", body, headers: { "Content-Type": "application/json" } };

  /** Where the frames of an answer begin, and its end. */
  function places(answer: Uint8Array): number[] {
    const view = new DataView(answer.buffer, answer.byteOffset);
    const found = [0];
    while (found.at(-1)! < answer.length) {
      found.push(found.at(-1)! + 10 + view.getUint16(found.at(-1)!));
    }
    return found;
  }

  test.each<[string, (answer: Sent) => Sent]>([
    ["changes a byte", (answer) => answer.with(20, answer[20]! ^ 1)],
    ["changes the last byte", (answer) => answer.with(-1, answer.at(-1)! ^ 1)],
    ["cuts the end off", (answer) => answer.slice(0, -1)],
    ["leaves the last frame out", (answer) => answer.slice(0, places(answer).at(-2))],
    [
      "says the last frame twice",
      (answer) => {
        const last = answer.slice(places(answer).at(-2));
        return new Uint8Array([...answer, ...last]);
      },
    ],
    [
      "swaps two frames",
      (answer) => {
        const [first, second, third] = places(answer);
        const parts = [answer.slice(second, third), answer.slice(first, second)];
        return new Uint8Array([...parts[0]!, ...parts[1]!, ...answer.slice(third)]);
      },
    ],
    ["says nothing", () => new Uint8Array()],
  ])("and %s of an answer is not believed", async (_, answer) => {
    const { ask, between } = knock();
    await ask();
    between.answer = answer;
    // An answer of several frames.
    const asking = async () => (await ask("/client.js")).text();
    await expect(asking()).rejects.toMatchObject({ code: "seal-broken" });
    // And it harms no later one.
    between.answer = (whole) => whole;
    expect((await (await ask("/client.js")).text()).length).toBeGreaterThan(70_000);
  });

  test("and gives the answer to another question is not believed", async () => {
    const { ask, between } = knock();
    await ask();
    const first = between.answers.at(-1)!;
    between.answer = () => first;
    await expect(ask()).rejects.toMatchObject({ code: "seal-broken" });
  });

  test("and changes a request makes it nothing", async () => {
    const { ask, between } = knock();
    await ask();
    for (const at of [30, -1]) {
      between.alter = (message) => message.with(at, message.at(at)! ^ 1);
      await expect(ask("/v1/register", long)).rejects.toMatchObject({ code: "seal-broken" });
    }
    between.alter = (message) => message.slice(0, -1);
    await expect(ask("/v1/register", long)).rejects.toMatchObject({ code: "seal-broken" });
  });

  test("and says a request again is refused", async () => {
    const { ask, between } = knock();
    await ask();
    const again = await fetch(hub.url, { method: "POST", body: between.sent.at(-1)! });
    expect(await again.json()).toMatchObject({ code: "replayed" });
    // A client whose request is said to be one learns so.
    const before = between.sent.at(-1)!;
    between.alter = () => before;
    await expect(ask()).rejects.toMatchObject({ code: "replayed" });
  });

  test("and is no door at all is told apart from one", async () => {
    const { door } = knock();
    const elsewhere = async () =>
      new Response("<html>", { headers: { "content-type": "text/html" } });
    const wrong = new Door(hub.url, hub.token, elsewhere, () => {});
    await expect(wrong.fetch(`${door.base}livez`, {})).rejects.toMatchObject({ code: "no-hub" });
  });
});

describe("tokens", () => {
  test("another secret, an unknown one and no token at all open nothing", async () => {
    const [id] = hub.token.split(".");
    const secret = "A".repeat(43);
    const refused = (token: string, code: string) =>
      expect(knock(new Between(), token).ask()).rejects.toMatchObject({ code });
    await refused(`${id}.${secret}`, "seal-broken");
    await refused(`AAAAAAAAAAA.${secret}`, "key-unknown");
    for (const token of ["", "word", `${id}.short`, `${hub.token}.more`, "é.é"]) {
      await refused(token, "bad-request");
    }
  });

  test("one that is over is asked for anew, once", async () => {
    const { token } = await hub.ask({ do: "rotate" });
    await hub.ask({ do: "revoke", token: hub.token });
    const given = [hub.token, token!];
    const { ask } = knock(new Between(), () => given.shift()!);
    expect((await ask()).status).toBe(200);
    expect(given).toEqual([]);
    await expect(knock().ask()).rejects.toMatchObject({ code: "key-unknown" });
    await hub.ask({ do: "pass", seconds: 25 * 3600 });
    await expect(knock(new Between(), token!).ask()).rejects.toMatchObject({ code: "key-expired" });
  });

  test("a session ends with its token", async () => {
    const { ask } = knock();
    await ask();
    await hub.ask({ do: "revoke", token: hub.token });
    await expect(ask()).rejects.toMatchObject({ code: "key-unknown" });
  });
});
