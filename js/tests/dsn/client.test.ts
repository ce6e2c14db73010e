/**
 * `connectDSN` in Node, with a database in memory, against a backend with DSNSync: the acceptance
 * scenarios from the page's side.
 */

import "fake-indexeddb/auto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectDSN, type DsnClient, type DsnOptions, type Fetch } from "../../src/reunite.js";
import { built } from "../browser/built.js";
import { until } from "../stories/world.js";
import { Backend, CONNECTS, EXAMPLES, SHOP } from "./backend.js";

const ALICE = { name: "Alice", email: "alice@example.com", cart: [], status: "active" };
const PEOPLE = {
  user_001: { name: "John", email: "john@example.com" },
  user_002: { name: "Jane", email: "jane@example.com" },
  user_003: { name: "Bob", email: "bob@example.com" },
};

let backend: Backend;
const open: DsnClient[] = [];

beforeEach(async () => {
  backend = await Backend.start();
});
afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
  await backend.stop();
});

function device(name: string, options: DsnOptions = {}, url = backend.url): DsnClient {
  const given = { storage: `${backend.folder} ${name}`, pollInterval: 50, ...options };
  const client = connectDSN(url, backend.token, given);
  open.push(client);
  return client;
}

async function people(): Promise<void> {
  for (const [key, person] of Object.entries(PEOPLE)) await backend.sync("users", key, person);
}

/** Fetches, until it is told that there is no network, or to lose an answer. */
class Network {
  isThere = true;
  answersToLose = 0;
  readonly urls: string[] = [];
  #cut = new AbortController();

  readonly fetch: Fetch = async (url, init) => {
    if (!this.isThere) throw new TypeError("no network");
    this.urls.push(url);
    const signal = AbortSignal.any([this.#cut.signal, ...(init.signal ? [init.signal] : [])]);
    return fetch(url, { ...init, signal });
  };

  set(isThere: boolean): void {
    this.isThere = isThere;
    if (isThere) this.#cut = new AbortController();
    else this.#cut.abort();
  }
}

test("S1: what the backend syncs is read as one object, without keys in the records", async () => {
  await people();
  const client = device("reader");
  expect(await client.getAll("users")).toEqual(PEOPLE);
  expect(await client.get("users", "user_001")).toEqual(PEOPLE.user_001);
  expect(await client.get("users", "nobody")).toBeUndefined();
  expect(await client.getAll("nothing")).toEqual({});
  expect(await client.get("nothing", "x")).toBeUndefined();
});

test("S2 to S4: creates, updates and deletes are true when the backend has them", async () => {
  await people();
  const [client, other] = [device("writer"), device("other")];
  expect(await client.create("users", "user_004", ALICE)).toBe(true);
  expect(await client.update("users", "user_001", { name: "J", status: "inactive" })).toBe(true);
  expect(await client.update("users", "user_001", { name: "J" })).toBe(true); // as it is already
  expect(await client.delete("users", "user_002")).toBe(true);
  expect(await backend.ask("told")).toEqual([
    ["create", { user_id: "user_004", ...ALICE }],
    ["update", { user_id: "user_001", name: "J", status: "inactive" }],
    ["delete", { user_id: "user_002" }],
  ]);
  const expected = {
    user_001: { name: "J", email: "john@example.com", status: "inactive" },
    user_003: PEOPLE.user_003,
    user_004: ALICE,
  };
  expect(await client.getAll("users")).toEqual(expected);
  await until(
    async () => Object.keys(await other.getAll("users")).length === 3,
    "the other has it",
  );
  await until(async () => "status" in (await other.get("users", "user_001"))!, "and the update");
  expect(await other.getAll("users")).toEqual(expected);
  expect(client.lastError).toBeNull();
});

test("S5: what a handler refuses is false, and nothing of it stays", async () => {
  const client = device("refused");
  await backend.ask("refuse", { table: "users" });
  expect(await client.create("users", "user_004", ALICE)).toBe(false);
  expect(client.lastError).toEqual({ code: "refused", message: "The backend refused it." });
  expect(await client.getAll("users")).toEqual({});
});

test("what cannot be is false at once, with its code", async () => {
  await people();
  const client = device("careless");
  const codes: unknown[] = [];
  const tried = async (done: Promise<boolean>) => codes.push([await done, client.lastError?.code]);
  await tried(client.create("users", "user_001", ALICE));
  await tried(client.update("users", "nobody", ALICE));
  await tried(client.delete("users", "nobody"));
  await tried(client.create("users", "user_009", { age: 36 }));
  await tried(client.create("users", "user_009", { name: 10n }));
  await tried(client.create("never_declared", "k", {}));
  await tried(client.create("users", "", ALICE));
  await tried(client.create("users", "k".repeat(256), ALICE));
  await tried(client.create("users", "user_009", { user_id: "user_008" }));
  await tried(client.create("users", "user_009", ["Alice"]));
  await tried(client.create("users", "user_009", null as never));
  await tried(client.update("users", "user_001", { dsn_sync_key: "user_008" }));
  await tried(client.create("dsn_sync_tables", "mine", { is_declared: 1 }));
  await backend.sync("tasks", "task_001", { status: "running" });
  await until(async () => (await client.get("tasks", "task_001")) !== undefined, "it is there");
  await tried(client.update("tasks", "task_001", { status: "hacked" }));
  expect(codes).toEqual([
    [false, "exists"],
    [false, "missing"],
    [false, "missing"],
    [false, "refused"],
    [false, "refused"],
    [false, "missing"],
    [false, "refused"],
    [false, "refused"],
    [false, "refused"],
    [false, "refused"],
    [false, "refused"],
    [false, "refused"],
    [false, "missing"],
    [false, "missing"],
  ]);
  expect(await backend.ask("told")).toEqual([]);
  expect(await client.getAll("users")).toEqual(PEOPLE);
  expect(await client.getAll("dsn_sync_tables")).toEqual({});
  expect(await client.get("dsn_sync_tables", "users")).toBeUndefined();
});

test("a table or field that the backend declared a moment ago can be written to", async () => {
  const client = device("eager");
  await until(() => client.isConnected(), "it is connected");
  const define = (fields: string[]) =>
    backend.ask("define", { table: "orders", schema: { key: "id", fields } });
  await define(["total"]);
  expect(await client.create("orders", "o1", { total: 5 })).toBe(true);
  await define(["total", "paid"]);
  expect(await client.update("orders", "o1", { paid: true })).toBe(true);
  expect(await client.getAll("orders")).toEqual({ o1: { total: 5, paid: true } });
});

test("S6: changes of anyone are heard, with all records, and the first ones too", async () => {
  await people();
  const [client, writer] = [device("listener"), device("writer")];
  const heard: Record<string, unknown>[] = [];
  client.onDataChange("users", (users) => heard.push(users));
  await until(() => heard.length === 1, "the first ones");
  expect(heard[0]).toEqual(PEOPLE);
  await backend.sync("users", "user_001", { status: "away" });
  await until(() => Object.hasOwn((heard.at(-1) as typeof PEOPLE).user_001, "status"), "an update");
  await writer.create("users", "user_004", ALICE);
  await until(() => "user_004" in heard.at(-1)!, "the other's create");
  await writer.delete("users", "user_004");
  await until(() => !("user_004" in heard.at(-1)!), "and its delete");
  // A table that is declared later is heard of, too.
  const later: unknown[] = [];
  client.onDataChange("notifications", (found) => later.push(found));
  const fields = ["message", "read"];
  await backend.ask("define", { table: "notifications", schema: { key: "id", fields } });
  await backend.sync("notifications", "n1", { message: "Hello", read: false });
  await until(() => later.length > 0 && "n1" in (later.at(-1) as object), "the new table");
  expect(later.at(-1)).toEqual({ n1: { message: "Hello", read: false } });
});

test("S10, S11: a message notifies, and reading it is true without a handler", async () => {
  const client = device("chat");
  const fields = ["from_user", "to_user", "message", "timestamp", "read"];
  await backend.ask("define", { table: "messages", schema: { key: "message_id", fields } });
  const told = ["user_id", "message", "type", "read", "timestamp"];
  await backend.ask("define", { table: "notifications", schema: { key: "id", fields: told } });
  await backend.ask("notify");
  const message = { to_user: "user_456", message: "Hello!" };
  await until(() => client.create("messages", "m1", message), "the table has come");
  await until(async () => "notif_m1" in (await client.getAll("notifications")), "it has come");
  expect(await client.update("notifications", "notif_m1", { read: true })).toBe(true);
  await backend.ask("refuse", { table: "messages" });
  expect(await client.create("messages", "m2", message)).toBe(false);
  expect(Object.keys(await client.getAll("notifications"))).toEqual(["notif_m1"]);
});

test("S13: what is written without a network arrives in its order, after a reload too", async () => {
  const network = new Network();
  const first = device("traveller", { fetch: network.fetch });
  await first.getAll("users");
  network.set(false);
  const unsettled = ["z", "a", "m"].map((key) => first.create("users", key, { name: key }));
  await until(async () => Object.keys(await first.getAll("users")).length === 3, "they are local");
  await first.close();
  expect(await Promise.all(unsettled)).toEqual([false, false, false]);
  expect(first.lastError?.code).toBe("offline");
  expect(await backend.ask("told")).toEqual([]);

  const second = device("traveller", { fetch: network.fetch });
  expect(Object.keys(await second.getAll("users")).sort()).toEqual(["a", "m", "z"]);
  network.set(true);
  expect(await second.connect()).toBe(true);
  const told = await backend.ask<[string, { user_id: string }][]>("told");
  expect(told.map(([, data]) => data.user_id)).toEqual(["z", "a", "m"]);
});

test("S14: a create whose answer was lost is done once, and true", async () => {
  let isLost = false;
  const losing: Fetch = async (url, init) => {
    const response = await fetch(url, init);
    if (isLost) {
      isLost = false;
      await response.body?.cancel();
      throw new TypeError("the answer was lost");
    }
    return response;
  };
  const client = device("unlucky", { fetch: losing });
  await client.getAll("users");
  await until(() => client.isConnected(), "it is live");
  isLost = true;
  expect(await client.create("users", "user_004", ALICE)).toBe(true);
  expect(isLost).toBe(false);
  expect(await backend.ask("told")).toHaveLength(1);
});

test("a client waits for its backend, follows rotation and restart, and can be cut off", async () => {
  await people();
  await backend.ask("stop");
  const client = device("patient");
  const reading = client.getAll("users");
  await until(() => client.lastError?.code === "offline", "it says why");
  await backend.ask("start");
  expect(await reading).toEqual(PEOPLE);
  await until(() => client.isConnected(), "it is live");

  await backend.ask("rotate");
  expect(await client.create("users", "user_004", ALICE)).toBe(true);
  await backend.ask("revoke", { token: backend.token });
  await backend.ask("stop");
  await until(() => !client.isConnected(), "it notices");
  await backend.ask("start");
  expect(await client.create("users", "user_005", ALICE)).toBe(true);

  client.disconnect();
  expect(client.isConnected()).toBe(false);
  const waiting = client.create("users", "user_006", ALICE);
  await until(async () => "user_006" in (await client.getAll("users")), "it is local");
  expect(await client.connect()).toBe(true);
  expect(await waiting).toBe(true);
  expect(await client.reconnect()).toBe(true);
});

test("a client that disconnects cuts off no other one of the same page", async () => {
  const first = device("page");
  await first.getAll("users");
  await until(() => first.isConnected(), "the first is live");
  const second = device("page");
  await second.getAll("users");
  await until(() => second.isConnected(), "the second is live");
  first.disconnect();
  expect(await second.create("users", "user_001", ALICE)).toBe(true);
  await backend.sync("users", "user_002", ALICE);
  await until(async () => "user_002" in (await second.getAll("users")), "the second hears of it");
  expect([first.isConnected(), second.isConnected()]).toEqual([false, true]);
  expect(await second.reconnect()).toBe(true);
  expect(await first.connect()).toBe(true);
  await until(() => first.isConnected() && second.isConnected(), "both are live");
});

test("S8: after a restart in a new process, clients go on with the token they have", async () => {
  await people();
  const client = device("survivor");
  expect(await client.getAll("users")).toEqual(PEOPLE);
  await backend.end();
  await until(() => !client.isConnected(), "it notices");
  const waiting = client.create("users", "user_004", ALICE);
  const { port } = new URL(backend.url);
  const next = await Backend.start({ port: Number(port) }, backend.folder);
  expect([next.url, next.token]).toEqual([backend.url, backend.token]);
  expect(await waiting).toBe(true);
  expect(await next.ask("told")).toEqual([["create", { user_id: "user_004", ...ALICE }]]);
  const late = device("late");
  expect(await late.getAll("users")).toEqual({ ...PEOPLE, user_004: ALICE });
  await client.close();
  await late.close();
  await next.end();
});

test("the package's main entry has both clients", async () => {
  const entry = await import(built("reunite.js"));
  expect(Object.keys(entry)).toEqual(expect.arrayContaining(["connect", "connectDSN"]));
  const packed = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"));
  expect(packed.exports["."].default).toBe("./dist/reunite.js");
});

test("a token that is none opens nothing, and the client says so", async () => {
  const [id, secret] = backend.token.split(".") as [string, string];
  for (const bad of ["YOUR_TOKEN", `${id}.${secret.slice(1)}A`, `AAAAAAAAAAA.${secret}`]) {
    const client = connectDSN(backend.url, bad, { storage: `${backend.folder} ${bad}` });
    open.push(client);
    expect(await client.create("users", "u", ALICE)).toBe(false);
    expect(client.lastError?.code).toBe("unauthorized");
    await expect(client.getAll("users")).rejects.toThrow();
    expect(client.lastError?.message).not.toContain(secret);
  }
  expect(await backend.ask("told")).toEqual([]);
});

test("a first connection that does not come fails when it was told to", async () => {
  const { url } = backend;
  await backend.ask("stop");
  const hasty = device("hasty", { connectionTimeout: 100 }, url);
  await expect(hasty.getAll("users")).rejects.toThrow("within 100 ms");
  const modest = device("modest", { maxRetries: 2, pollInterval: 5 }, url);
  await expect(modest.getAll("users")).rejects.toThrow();
  expect(modest.lastError?.code).toBe("offline");
});

test("neither token nor data is in a URL", async () => {
  const network = new Network();
  const client = device("quiet", { fetch: network.fetch });
  await client.create("users", "user_004", ALICE);
  const paths = new Set(network.urls.map((url) => new URL(url).pathname));
  expect([...paths]).toEqual(["/sync/001"]);
  expect(network.urls.join()).not.toContain(backend.token.split(".")[1]);
});

const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;

test("the README's examples run in Node with their imports changed", async () => {
  const tour = await Backend.start({ readme: "tour" });
  const seen: { badge: number; charts: unknown[][] } = { badge: -1, charts: [] };
  const own = {
    console: { log: () => {} },
    showNotificationBadge: (count: number) => {
      seen.badge = count;
    },
    updateChart: (sales: unknown[]) => seen.charts.push(sales),
  };
  const client = await reading(EXAMPLES[CONNECTS]!, tour);
  for (const [place, code] of EXAMPLES.entries()) {
    if (place === CONNECTS || place === SHOP) continue;
    await new AsyncFunction("client", ...Object.keys(own), code)(client, ...Object.values(own));
  }
  const users = await client.getAll("users");
  expect(Object.keys(users).sort()).toEqual(["user_002", "user_003", "user_004", "user_123"]);
  expect(users.user_004).toEqual(ALICE);
  // The message that was sent told its recipient; the notification of before was read.
  await until(
    async () => Object.keys(await client.getAll("notifications")).length === 2,
    "it told",
  );
  await until(() => seen.badge === 1, "the badge counts");
  await until(() => seen.charts.length > 1, "the chart was drawn");
  await tour.stop();
});

test("the README's shop runs in Node with its import changed", async () => {
  const shop = await Backend.start({ readme: "shop" });
  const shown: { products: object; orders: object } = { products: {}, orders: {} };
  const own = {
    updateProductList: (products: object) => Object.assign(shown, { products }),
    updateOrderStatus: (orders: object) => Object.assign(shown, { orders }),
  };
  const client = await reading(EXAMPLES[SHOP]!, shop, own);
  await until(() => Object.keys(shown.orders).length === 1, "the order is shown");
  expect(Object.values(shown.orders)[0]).toMatchObject({ status: "pending", total: 1499.98 });
  const [laptop] = Object.values(shown.products);
  await until(async () => (await client.get("products", "prod_001"))?.stock === 49, "the stock");
  expect(laptop).toMatchObject({ name: "Laptop", price: 999.99 });
  expect(await client.get("cart", "user_123")).toEqual({
    items: ["prod_001", "prod_002"],
    total: 1499.98,
  });
  await shop.stop();
});

/** Run an example that connects; its client. */
async function reading(code: string, to: Backend, own: object = {}): Promise<DsnClient> {
  const connectHere = (_url: string, _token: string) => {
    const client = connectDSN(to.url, to.token, { storage: to.folder });
    open.push(client);
    return client;
  };
  const names = Object.keys(own);
  const run = new AsyncFunction("connectDSN", ...names, `${code}\nreturn client;`);
  return run(connectHere, ...Object.values(own));
}
