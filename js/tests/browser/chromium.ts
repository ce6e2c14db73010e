/**
 * A real Chromium for tests, and a page that has the client as the hub serves it.
 */

import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { test } from "vitest";
import type * as Client from "../../src/index.js";
import type { sealed } from "../../src/sealed/index.js";
import type { TestHub } from "../stories/hub.js";
import { built } from "./built.js";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const PROGRAM = (process.env.PATH ?? "")
  .split(delimiter)
  .flatMap((folder) => NAMES.map((name) => join(folder, name)))
  .find(isProgram);

// Much longer than anything takes, also on a machine that is overloaded.
const PATIENCE_MS = 90_000;

const HTML = `<!doctype html><title>A page</title>
<script type="module">import * as reunite from "/client.js"; window.reunite = reunite;</script>`;

declare global {
  interface Window {
    reunite: typeof Client;
    sealed: typeof sealed;
    db: Client.Database;
    seen: unknown[];
  }
}

/** Opens a browser with the storage of those before it in the same test. */
export type Browse = (...args: string[]) => Promise<BrowserContext>;

/** A test in Chromium: without one it is skipped with a reason, but fails in CI. `timeoutMs`: for one
 * that has much to do. */
export function inChromium(
  name: string,
  work: (browse: Browse) => Promise<void>,
  timeoutMs?: number,
): void {
  test(name, { ...(timeoutMs && { timeout: timeoutMs }) }, async (context) => {
    if (PROGRAM === undefined) {
      const reason = "there is no Chromium in PATH: run make setup, or install one";
      if (process.env.CI) throw new Error(`CI must test in a browser, and ${reason}`);
      console.warn(`Not tested in a browser: ${reason}.`);
      context.skip(reason);
    }
    const folder = mkdtempSync(join(tmpdir(), "reunite-chromium-"));
    const begun: BrowserContext[] = [];
    try {
      await work(async (...args) => {
        const browser = await browse(folder, args);
        begun.push(browser);
        return browser;
      });
    } finally {
      for (const browser of begun) await browser.close().catch(() => {});
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  });
}

async function browse(folder: string, args: readonly string[]): Promise<BrowserContext> {
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: PROGRAM!,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server", ...args],
    timeout: PATIENCE_MS,
  });
  context.setDefaultTimeout(PATIENCE_MS);
  return context;
}

/** A page of the hub's own origin, or of another name for it, with the client loaded. */
export async function open(context: BrowserContext, hub: TestHub, host?: string): Promise<Page> {
  const page = await context.newPage();
  const url = new URL("a-page", hub.url);
  if (host !== undefined) {
    url.hostname = host;
    // Chromium asks people before a page under another name may load from this very machine.
    const path = join(import.meta.dirname, "../../../src/reunite/server/client.js");
    await page.route("**/client.js", (route) => route.fulfill({ path }));
  }
  await page.route("**/a-page", (route) => route.fulfill({ contentType: "text/html", body: HTML }));
  await page.goto(url.href);
  await page.waitForFunction(() => window.reunite !== undefined);
  return page;
}

/** Have the page connect; its database is `window.db` from then on. */
export async function connect(page: Page, hub: TestHub, options: object = {}): Promise<void> {
  await page.evaluate(
    async ([token, more]) => {
      const times = { pauseMs: 10, pauseMsMax: 200, pongMs: 500 };
      window.db = await window.reunite.connect("/", { token, times, ...more });
    },
    [hub.token, options] as const,
  );
}

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/** Do something with a page; how long the longest task of any page's main thread took meanwhile, in
 * milliseconds of a processor. */
export async function watched<Result>(
  context: BrowserContext,
  page: Page,
  work: () => Promise<Result>,
): Promise<{ result: Result; taskMsMax: number }> {
  const devtools = await context.newCDPSession(page);
  const events: TraceEvent[] = [];
  devtools.on("Tracing.dataCollected", ({ value }) => {
    events.push(...(value as unknown as TraceEvent[]));
  });
  const complete = new Promise((resolve) => devtools.once("Tracing.tracingComplete", resolve));
  const includedCategories = ["toplevel", "__metadata"];
  await devtools.send("Tracing.start", { traceConfig: { includedCategories } });
  const result = await work();
  await devtools.send("Tracing.end");
  await complete;
  const main = events.filter(({ name, args }) => {
    return name === "thread_name" && args?.name === "CrRendererMain";
  });
  const threads = new Set(main.map(({ pid, tid }) => `${pid} ${tid}`));
  const tasks = events.filter(({ name, pid, tid, tdur }) => {
    return /RunTask$/.test(name) && tdur !== undefined && threads.has(`${pid} ${tid}`);
  });
  if (tasks.length === 0) throw new Error("The trace has no tasks.");
  return { result, taskMsMax: tasks.reduce((most, { tdur }) => Math.max(most, tdur!), 0) / 1_000 };
}

/** A page on plain HTTP under the name shop.test, where a sealed door is. */
export async function openSealed(context: BrowserContext, house: TestHub): Promise<Page> {
  const page = await context.newPage();
  const url = new URL("/a-page", house.url);
  url.hostname = "shop.test";
  await page.route("**/*.js", (route) =>
    route.fulfill({ path: built(new URL(route.request().url()).pathname) }),
  );
  const more = 'import { sealed } from "/sealed.js"; window.sealed = sealed;';
  const body = HTML.replace("</script>", `${more}</script>`);
  await page.route("**/a-page", (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto(url.href);
  await page.waitForFunction(() => window.sealed !== undefined);
  return page;
}

/** Have the page connect through the door. */
export async function connectSealed(page: Page, house: TestHub): Promise<void> {
  await page.evaluate(async (token) => {
    const times = { pauseMs: 10, pauseMsMax: 200, pongMs: 10_000 };
    const transport = window.sealed();
    window.db = await window.reunite.connect("/sync/001", { token, transport, times });
  }, house.token);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
