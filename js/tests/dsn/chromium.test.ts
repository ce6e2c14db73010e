/**
 * `connectDSN` in a real browser: a page of another origin, with the module that the backend serves.
 */

import type { BrowserContext, Page } from "playwright-core";
import { afterEach, beforeEach, expect } from "vitest";
import type { connectDSN, DsnClient } from "../../src/reunite.js";
import { inChromium } from "../browser/chromium.js";
import { Backend, CONNECTS, EXAMPLES, SHOP, startShop } from "./backend.js";

declare global {
  interface Window {
    connectDSN: typeof connectDSN;
    client: DsnClient;
    said: unknown[];
  }
}

const PAGE = "http://shop.localhost/";
const FLAGS = ["--disable-features=LocalNetworkAccessChecks", "--ignore-certificate-errors"];
const ALICE = { name: "Alice", email: "alice@example.com", cart: [], status: "active" };

const open: Backend[] = [];
let backend: Backend;

beforeEach(async () => {
  backend = await begin();
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.stop();
});

async function begin(asked: object = {}): Promise<Backend> {
  const begun = await Backend.start(asked);
  open.push(begun);
  return begun;
}

/** A page that has the client of this backend, and what `code` makes of it. */
async function pageOf(context: BrowserContext, to: Backend): Promise<Page> {
  const page = await context.newPage();
  const module = new URL("client.js", to.url).href;
  const body = `<!doctype html><title>A shop</title><script type="module">
    import { connectDSN } from "${module}"; window.connectDSN = connectDSN;</script>`;
  await page.route(PAGE, (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto(PAGE);
  await page.waitForFunction(() => window.connectDSN !== undefined);
  return page;
}

async function connected(page: Page, to: Backend): Promise<void> {
  await page.evaluate(
    ([url, token]) => {
      window.client = window.connectDSN(url!, token!);
    },
    [to.url, to.token],
  );
}

/** Run an example of the README in the page. */
async function runIn(page: Page, code: string): Promise<void> {
  await page.evaluate(async (text) => {
    const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
    const names = ["client", "showNotificationBadge", "updateChart", "console"];
    window.said ??= [];
    const say = (...words: unknown[]) => window.said.push(words);
    await new AsyncFunction(...names, text)(window.client, say, say, { log: say });
  }, code);
}

inChromium("the README's examples run in a page with their imports changed", async (browse) => {
  const tour = await begin({ readme: "tour" });
  const page = await pageOf(await browse(...FLAGS), tour);
  await connected(page, tour);
  for (const [place, code] of EXAMPLES.entries()) {
    if (place !== CONNECTS && place !== SHOP) await runIn(page, code);
  }
  const users = await page.evaluate(() => window.client.getAll("users"));
  expect(Object.keys(users).sort()).toEqual(["user_002", "user_003", "user_004", "user_123"]);
  expect(users.user_004).toEqual(ALICE);
  await page.waitForFunction(() => window.said.some((words) => (words as unknown[])[0] === 1));
});

inChromium("the README's shop runs in a page with its import changed", async (browse) => {
  const shop = await begin({ readme: "shop" });
  const page = await pageOf(await browse(...FLAGS), shop);
  await page.evaluate(
    async ([code, url, token]) => {
      const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
      const shown: Record<string, object> = {};
      const names = ["connectDSN", "updateProductList", "updateOrderStatus"];
      window.said = [shown];
      await new AsyncFunction(...names, code)(
        () => window.connectDSN(url!, token!),
        (products: object) => Object.assign(shown, { products }),
        (orders: object) => Object.assign(shown, { orders }),
      );
    },
    [EXAMPLES[SHOP]!, shop.url, shop.token],
  );
  const shown = () => {
    const [{ orders = {}, products = {} }] = window.said as [Record<string, object>];
    return Object.keys(orders).length === 1 && Object.keys(products).length === 1;
  };
  await page.waitForFunction(shown);
});

inChromium("what is written offline survives a reload and arrives in its order", async (browse) => {
  const context = await browse(...FLAGS);
  const page = await pageOf(context, backend);
  await connected(page, backend);
  await page.evaluate(() => window.client.getAll("users"));
  const module = await (await fetch(new URL("client.js", backend.url))).text();
  const contentType = "text/javascript";
  const headers = { "access-control-allow-origin": "*" };
  await page.route("**/client.js", (route) =>
    route.fulfill({ contentType, body: module, headers }),
  );
  await context.setOffline(true);
  await page.evaluate(() => {
    for (const key of ["z", "a", "m"]) void window.client.create("users", key, { name: key });
  });
  await page.waitForFunction(
    async () => Object.keys(await window.client.getAll("users")).length > 2,
  );
  await page.reload();
  await page.waitForFunction(() => window.connectDSN !== undefined);
  await connected(page, backend);
  const read = await page.evaluate(() => window.client.getAll("users"));
  expect(Object.keys(read).sort()).toEqual(["a", "m", "z"]);
  await context.setOffline(false);
  await expect
    .poll(async () => (await backend.ask<[string, { user_id: string }][]>("told")).length, {
      timeout: 60_000,
    })
    .toBe(3);
  const told = await backend.ask<[string, { user_id: string }][]>("told");
  expect(told.map(([, data]) => data.user_id)).toEqual(["z", "a", "m"]);
});

inChromium(
  "two tabs hear each other, and a new token is kept where no script reads it",
  async (browse) => {
    const context = await browse(...FLAGS);
    const [first, second] = [await pageOf(context, backend), await pageOf(context, backend)];
    for (const page of [first, second]) await connected(page, backend);
    await second.evaluate(() => {
      window.said = [];
      window.client.onDataChange("users", (users) => window.said.push(users));
    });
    expect(await first.evaluate((alice) => window.client.create("users", "u4", alice), ALICE)).toBe(
      true,
    );
    await second.waitForFunction(() => "u4" in ((window.said.at(-1) ?? {}) as object));
    expect(await second.evaluate(() => window.client.update("users", "u4", { name: "A" }))).toBe(
      true,
    );

    // Rotated and revoked, the page's own token opens nothing; the one that it was given does.
    await backend.ask("rotate");
    expect(await first.evaluate(() => window.client.update("users", "u4", { name: "B" }))).toBe(
      true,
    );
    await backend.ask("revoke", { token: backend.token });
    await first.close();
    await second.reload();
    await second.waitForFunction(() => window.connectDSN !== undefined);
    await connected(second, backend);
    expect(await second.evaluate(() => window.client.update("users", "u4", { name: "C" }))).toBe(
      true,
    );
    // No text that the page's storage holds has either secret.
    const stored = await second.evaluate(async () => {
      const texts: string[] = [];
      for (const { name } of await indexedDB.databases()) {
        const database = await new Promise<IDBDatabase>((resolve) => {
          const opening = indexedDB.open(name!);
          opening.onsuccess = () => resolve(opening.result);
        });
        for (const store of database.objectStoreNames) {
          const rows = await new Promise<unknown[]>((resolve) => {
            const asking = database.transaction(store).objectStore(store).getAll();
            asking.onsuccess = () => resolve(asking.result);
          });
          texts.push(JSON.stringify(rows));
        }
        database.close();
      }
      return texts.join();
    });
    const now = await backend.ask<string>("token");
    for (const token of [backend.token, now]) expect(stored).not.toContain(token.split(".")[1]);
    expect(stored).toContain("u4");
  },
);

inChromium(
  "whoever watches a table that the browser threw away is told of a new one",
  async (browse) => {
    const page = await pageOf(await browse(...FLAGS), backend);
    await backend.sync("users", "u1", { name: "Ada" });
    await connected(page, backend);
    await page.evaluate(() => {
      window.said = [];
      window.client.onDataChange("users", (users) => window.said.push(Object.keys(users).length));
    });
    await page.waitForFunction(() => window.said.at(-1) === 1);
    await page.evaluate(async () => {
      for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name!);
    });
    await backend.sync("users", "u2", { name: "Bob" });
    await page.waitForFunction(() => window.said.at(-1) === 2);
  },
);

inChromium(
  "what is refused is false in its own tab, however many tabs there are",
  async (browse) => {
    const context = await browse(...FLAGS);
    const pages = [await pageOf(context, backend), await pageOf(context, backend)];
    for (const page of [...pages, ...pages]) await connected(page, backend);
    await backend.ask("refuse", { table: "users" });
    for (const page of pages) {
      const answers = await page.evaluate(() => {
        const keys = Array.from({ length: 10 }, (_, index) => `u${index}`);
        return Promise.all(keys.map((key) => window.client.create("users", key, { name: key })));
      });
      expect(answers).toEqual(Array(10).fill(false));
      expect(await page.evaluate(() => window.client.lastError)).toEqual({
        code: "refused",
        message: "The backend refused it.",
      });
    }
    const kept = () => window.client.getAll("users");
    for (const page of pages) expect(await page.evaluate(kept)).toEqual({});
  },
);

inChromium(
  "the example's shop sells its two laptops to two pages, and no third one",
  async (browse) => {
    const shop = await startShop();
    try {
      const context = await browse(...FLAGS);
      const pages = [await context.newPage(), await context.newPage()];
      for (const page of pages) {
        await page.goto(shop.address);
        await page.getByText("Laptop, $999.99, 2 left").waitFor();
      }
      const [first, second] = pages as [Page, Page];
      await first.getByRole("button", { name: "Order Laptop" }).click();
      await first.getByText("Laptop is yours.").waitFor();
      await second.getByText("Laptop, $999.99, 1 left").waitFor();
      await second.getByRole("button", { name: "Order Laptop" }).click();
      await second.getByText("Laptop is yours.").waitFor();
      await first.getByText("Laptop, $999.99, 0 left").waitFor();
      expect(await first.getByRole("button", { name: "Order Laptop" }).isDisabled()).toBe(true);
      await first.getByText("prod_001: $999.99, confirmed").nth(1).waitFor();
    } finally {
      await shop.stop();
    }
  },
);

inChromium("a self-signed backend is talked to over https", async (browse) => {
  const house = await begin({ options: { tls: "auto" } });
  expect(house.url).toMatch(/^https:/);
  const page = await pageOf(await browse(...FLAGS), house);
  await connected(page, house);
  expect(await page.evaluate((alice) => window.client.create("users", "u4", alice), ALICE)).toBe(
    true,
  );
});
