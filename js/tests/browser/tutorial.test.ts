/**
 * The tutorial, step by step: its files as they stand on its page, its server, and two browsers.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect } from "vitest";
import { inChromium } from "./chromium.js";

const ROOT = join(import.meta.dirname, "../../..");
const PYTHON = process.env.REUNITE_PYTHON ?? join(ROOT, ".venv/bin/python");
const PAGE = readFileSync(join(ROOT, "docs/tutorial/offline-first-page.md"), "utf8");

/** Its backend, which can be stopped and started again on the same port. */
class Backend {
  readonly folder = mkdtempSync(join(tmpdir(), "reunite-tutorial-"));
  url = "";
  private process: ChildProcess | null = null;

  constructor() {
    const files = [
      ...PAGE.matchAll(/Save this as `([^`]+)`:\n(?:\n|<!--[^\n]*)*```\w+\n(.*?)```/gs),
    ];
    expect(files.map(([, name]) => name)).toEqual(["app.py", "page/index.html", "page/worker.js"]);
    mkdirSync(join(this.folder, "page"));
    for (const [, name, text] of files) writeFileSync(join(this.folder, name!), text!);
  }

  async start(): Promise<void> {
    const port = this.url === "" ? "0" : new URL(this.url).port;
    const options = [
      "-m",
      "uvicorn",
      "app:app",
      "--port",
      port,
      "--timeout-graceful-shutdown",
      "1",
    ];
    const begun = spawn(PYTHON, options, {
      cwd: this.folder,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.process = begun;
    const said: string[] = [];
    this.url = await new Promise((resolve, reject) => {
      createInterface({ input: begun.stderr! }).on("line", (line) => {
        said.push(line);
        const found = /running on (http:\S+)/.exec(line);
        if (found) resolve(found[1]!);
      });
      begun.once("exit", () => reject(new Error(said.join("\n"))));
    });
  }

  async stop(): Promise<void> {
    const ending = this.process;
    this.process = null;
    if (ending === null || ending.exitCode !== null) return;
    const ended = new Promise((resolve) => ending.once("exit", resolve));
    ending.kill("SIGINT");
    await ended;
  }
}

let backend: Backend;

beforeEach(async () => {
  backend = new Backend();
  await backend.start();
});
afterEach(async () => {
  await backend.stop();
  rmSync(backend.folder, { recursive: true, force: true });
});

const says = (page: Page, text: RegExp) =>
  expect.poll(() => page.locator("[role=status]").textContent(), { timeout: 60_000 }).toMatch(text);
const shows = (page: Page, titles: string[]) =>
  expect.poll(() => page.locator("li").allTextContents(), { timeout: 60_000 }).toEqual(titles);

async function add(page: Page, title: string): Promise<void> {
  await page.fill("input[name=task]", title);
  await page.keyboard.press("Enter");
}

inChromium("the steps of the tutorial lead where it says", async (browse) => {
  const context = await browse();
  const page = await context.newPage();
  await page.goto(backend.url);
  await says(page, /^live, 0 to send$/);
  await add(page, "Buy milk");
  await shows(page, ["Buy milk"]);
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
  // From its second visit on the page comes through its worker.
  await page.reload();
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await says(page, /^live, 0 to send$/);

  const other = await context.newPage();
  await other.goto(backend.url);
  await shows(other, ["Buy milk"]);
  await other.click("li input");
  await shows(page, []);
  await other.close();

  await says(page, /^live, 0 to send$/);
  await backend.stop();
  await says(page, /^offline/);
  await add(page, "Paint the fence");
  await shows(page, ["Paint the fence"]);
  await says(page, /^offline, 1 to send$/);
  await page.close();

  const again = await context.newPage();
  await again.goto(backend.url);
  await shows(again, ["Paint the fence"]);
  await says(again, /1 to send$/);
  await backend.start();
  await says(again, /^live, 0 to send$/);
});
