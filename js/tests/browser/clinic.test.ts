/**
 * The ward of `examples/django_clinic` in a real browser: a doctor of the north and one of the south.
 */

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect } from "vitest";
import { inChromium } from "./chromium.js";

const ROOT = join(import.meta.dirname, "../../..");
const PYTHON = process.env.REUNITE_PYTHON ?? join(ROOT, ".venv/bin/python");
const CLINIC = join(ROOT, "examples/django_clinic");

interface Clinics {
  readonly url: string;
  manage(...words: string[]): string;
  stop(): Promise<void>;
}

let clinics: Clinics;

beforeEach(async () => {
  clinics = await start();
}, 180_000);
afterEach(() => clinics.stop());

async function start(): Promise<Clinics> {
  const folder = mkdtempSync(join(tmpdir(), "reunite-clinic-"));
  const env = { ...process.env, CLINIC_DIR: folder, PYTHONPATH: CLINIC, PYTHONUNBUFFERED: "1" };
  const manage = (...words: string[]) =>
    execFileSync(PYTHON, [join(CLINIC, "manage.py"), ...words], { cwd: folder, env }).toString();
  manage("migrate", "-v0");
  manage("open_clinics");
  const command = ["-m", "uvicorn", "clinic.asgi:application", "--port", "0"];
  const server = spawn(PYTHON, command, { cwd: folder, env, stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: server.stderr! }).on("line", (line) => {
      const found = /running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line);
      if (found) resolve(found[1]!);
    });
    void ended.then(() => reject(new Error("The clinics have closed.")));
  });
  const stop = async () => {
    server.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  return { url, manage, stop };
}

async function logIn(page: Page, user: string, password = user): Promise<void> {
  await page.goto(clinics.url);
  await page.fill("input[name=user]", user);
  await page.fill("input[name=password]", password);
  await page.click("text=Log in >> nth=-1");
}

inChromium("a doctor has the patients of her clinic, and notes a visit", async (browse) => {
  const context = await browse();
  const page = await context.newPage();
  await logIn(page, "dora");
  await page.waitForSelector("text=glucose 5.4");
  expect(await page.locator("h2").allTextContents()).toEqual(["Ada of the north"]);
  await page.fill("[aria-label='Visit of Ada of the north']", "well again");
  await page.click("text=Note");
  await page.waitForSelector("text=well again (dora)");
  await page.waitForFunction(() => document.querySelector("#said")?.textContent === "live");
  const code = "from care.models import Visit; print(Visit.objects.get().note)";
  expect(clinics.manage("shell", "-v0", "-c", code).trim()).toBe("well again");
  // What the project writes is on the page at once.
  clinics.manage(
    "shell",
    "-v0",
    "-c",
    "from care.models import Visit; Visit.objects.update(note='home')",
  );
  await page.waitForSelector("text=home (dora)");

  // A doctor of the other clinic sees nothing of this one, and a wrong password nothing at all.
  const south = await context.newPage();
  await logIn(south, "doug");
  await south.waitForSelector("text=Ada of the south");
  expect(await south.locator("h2").count()).toBe(1);
  const wrong = await context.newPage();
  await logIn(wrong, "dora", "doug");
  await wrong.waitForFunction(() =>
    /password/i.test(document.querySelector("#said")?.textContent ?? ""),
  );
  expect(await wrong.locator("h2").count()).toBe(0);
});
