/**
 * The demos of `examples/web`, served as `make run` serves them, and a page of them in Chromium.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { BrowserContext, FrameLocator, Page } from "playwright-core";

const ROOT = join(import.meta.dirname, "../../..");
const PYTHON = process.env.REUNITE_PYTHON ?? join(ROOT, ".venv/bin/python");

/** Where screenshots go: `REUNITE_SCREENSHOTS=../docs/screenshots npx vitest run demos`. */
const SCREENSHOTS = process.env.REUNITE_SCREENSHOTS;

export class Demos {
  private constructor(
    readonly url: string,
    private readonly process: ChildProcess,
    private readonly folder: string,
  ) {}

  static async start(port = "0"): Promise<Demos> {
    const folder = mkdtempSync(join(tmpdir(), "reunite-demos-"));
    const program = join(ROOT, "examples/web");
    const begun = spawn(PYTHON, [program, "--port", port, "--folder", folder], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: begun.stdout! });
    const url = await new Promise<string>((resolve, reject) => {
      lines.on("line", (line) => {
        const found = /http:\S+/.exec(line);
        if (found) resolve(found[0]);
      });
      begun.once("exit", () => reject(new Error("The demos have ended.")));
    });
    return new Demos(url, begun, folder);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGTERM");
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }

  async open(context: BrowserContext, path = ""): Promise<Page> {
    const page = await context.newPage();
    await page.setViewportSize({ width: 1280, height: 860 });
    await page.goto(this.url + path);
    return page;
  }
}

/** One of the devices on a page. */
export const device = (page: Page, name: string): FrameLocator =>
  page.frameLocator(`iframe[name=${name}]`);

/** Give a device its line, or take it away, as people do. */
export async function setLine(page: Page, name: string, isOn: boolean): Promise<void> {
  const toggle = device(page, name).getByRole("switch");
  if ((await toggle.getAttribute("aria-checked")) !== String(isOn)) await toggle.click();
}

/** Wait until what a device says of its line is this. */
export async function says(page: Page, name: string, words: RegExp): Promise<void> {
  await device(page, name).locator("header .how").filter({ hasText: words }).waitFor();
}

/** Take the page on a desktop and on a phone, light and dark, if screenshots are wanted. */
export async function photograph(page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const [size, width, height] of [
      ["desktop", 1280, 860],
      ["phone", 390, 844],
    ] as const) {
      await page.setViewportSize({ width, height });
      await page.evaluate(() => new Promise((drawn) => setTimeout(drawn, 300)));
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-${size}-${colorScheme}.png`) });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 860 });
}

/** Whether nothing on the page or its devices is wider than a phone. */
export async function fitsAPhone(page: Page): Promise<boolean> {
  await page.setViewportSize({ width: 360, height: 740 });
  const widths = await Promise.all(
    page
      .frames()
      .map((frame) => frame.evaluate(() => document.documentElement.scrollWidth - innerWidth)),
  );
  await page.setViewportSize({ width: 1280, height: 860 });
  return widths.every((more) => more <= 0);
}
