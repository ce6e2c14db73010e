/**
 * Something hostile is typed into every text field there is, and sent: nothing of it runs, nothing
 * gets out of its place, and what the hub refuses is told to who typed it.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { places, Stage, visit } from "./stage.js";

let stage: Stage;
const PATIENT_MS = 600_000;

beforeAll(async () => {
  stage = await Stage.start();
});
afterAll(() => stage.stop());

const VALUES = {
  markup: `<img src=x onerror="window.harmed=1">'"\`</textarea></script><script>window.harmed=1</script>`,
  link: "javascript:window.harmed=1",
  turned: "\u202Efdp.exe\u200F\u2066 %00%2e%2e%2f {{1}} \\",
  long: "W".repeat(10_000),
  nul: "a\u0000b",
} as const;

/** Where text fields are: a page, and what opens them, if they are in a dialog. */
const DIALOGS: readonly (readonly [string, string])[] = [
  ["people", "New user"],
  ["people", "Change ben"],
  ["people", "Roles of ben"],
  ["people?tab=tenants", "New tenant"],
  ["people?tab=tenants", "Change newark"],
  ["people?tab=roles", "New role"],
  ["people?tab=tokens", "New token"],
  ["permissions", "New filter"],
  ["permissions", "Change the filter “no-united”"],
];

const TEXTS =
  "textarea:visible:not([readonly]), input:visible:not([type=checkbox]):not([type=datetime-local])";

/** The labels of fields that the pages' sources declare. */
function declared(): Set<string> {
  const folder = join(import.meta.dirname, "../../console/src");
  const sources = readdirSync(folder, { recursive: true, encoding: "utf-8" })
    .filter((name) => /pages.*\.tsx$/.test(name))
    .map((name) => readFileSync(join(folder, name), "utf-8"));
  const found = new Set<string>();
  let plain = 0;
  for (const source of sources) {
    for (const [, label] of source.matchAll(
      /<(?:Field|TextFilter|NameFilter)\b[^>]*?label="([^"]+)"/gs,
    )) {
      found.add(label!);
    }
    plain += [...source.matchAll(/<textarea\b|<input\b(?!\s+type="checkbox")/g)].length;
  }
  // Those without such a part: claims, a filter's condition, a conflict's value, a user's new role,
  // who is looked at and which row, and the token that is shown.
  expect(plain, "a new field belongs into this test").toBe(7);
  for (const label of ["Claims", "Only rows with", "Role", "Or another value of", "Row's key"]) {
    found.add(label);
  }
  return found;
}

/** The labels of fields that were attacked. */
const seen = new Set<string>();

class Attacker {
  /** What the hub answered that was no success, since it was last looked at. */
  private refusals: number[] = [];

  constructor(readonly page: Page) {
    page.on("response", (response) => {
      if (response.url().includes("/api/") && response.status() >= 400) {
        this.refusals.push(response.status());
      }
    });
  }

  /** Type everything into every field of a form or page; `reopen` has it there again. */
  async attack(where: string, reopen: () => Promise<Locator>): Promise<void> {
    let scope = await reopen();
    const count = await scope.locator(TEXTS).count();
    expect(count, where).toBeGreaterThan(0);
    for (let index = 0; index < count; index += 1) {
      for (const [kind, value] of Object.entries(VALUES)) {
        if (!(await scope.locator(TEXTS).nth(index).isVisible())) scope = await reopen();
        const field = scope.locator(TEXTS).nth(index);
        await this.note(field);
        await this.fillOthers(scope, index);
        this.refusals = [];
        await field.fill(value);
        await this.send(field);
        await this.unharmed(`${where}, field ${index + 1}, ${kind}`);
      }
    }
  }

  private async note(field: Locator): Promise<void> {
    const label = await field.evaluate((element) => {
      const input = element as HTMLInputElement;
      const [first] = input.labels?.[0]?.childNodes ?? [];
      return first?.textContent?.trim() ?? input.ariaLabel ?? "";
    });
    seen.add(label);
  }

  /** Names that a form needs besides. */
  private async fillOthers(scope: Locator, index: number): Promise<void> {
    await scope.locator(TEXTS).evaluateAll((fields, attacked) => {
      for (const [place, field] of (fields as HTMLInputElement[]).entries()) {
        if (place !== attacked && field.required && field.value === "") field.value = "mallory";
      }
    }, index);
  }

  /** Send what is in a field, and wait until the page has an answer. */
  private async send(field: Locator): Promise<void> {
    const page = this.page;
    const button = field.locator("xpath=ancestor::form[1]").locator("button[type=submit], button");
    if ((await button.count()) > 0) await button.last().click();
    else await page.waitForFunction(isTyped, undefined);
    await page.waitForFunction(isAnswered);
  }

  private async unharmed(what: string): Promise<void> {
    const found = await this.page.evaluate(() => ({
      harmed: "harmed" in window || "harmed" in {},
      strange: document.querySelectorAll(
        "body img, body iframe, main script, object, [onerror], [onload], a[href^='javascript' i]",
      ).length,
      isWide: document.documentElement.scrollWidth > innerWidth,
    }));
    expect(found.harmed, what).toBe(false);
    expect(found.strange, what).toBe(0);
    expect(found.isWide, what).toBe(false);
    expect(Math.max(0, ...this.refusals), what).toBeLessThan(500);
    if (this.refusals.length > 0) {
      const told = this.page.locator("[role=alert]").first();
      await told.waitFor({ timeout: 20_000 }).catch(() => {});
      expect(await told.isVisible(), `${what}: ${this.refusals}`).toBe(true);
    }
  }
}

/** Whether what was sent is done, refused, or not sent since a field is wrong. */
function isAnswered(): boolean {
  if (document.querySelector("[aria-busy=true], .waiting, [type=submit]:disabled")) return false;
  const dialog = document.querySelector("dialog");
  return dialog === null || dialog.querySelector("[role=alert], :invalid, [readonly]") !== null;
}

/** Whether the address has what was typed into a filter, as it has after a moment. */
function isTyped(): boolean {
  const asked = [...new URLSearchParams(location.search).values()];
  const typed = [...document.querySelectorAll<HTMLInputElement>("main .filters input")];
  return typed.every(({ value, type }) => type !== "search" || !value || asked.includes(value));
}

/** Pages that have fields of their own; those of other tabs and details are the same. */
async function pagesWithFields(): Promise<string[]> {
  const all = await places(stage);
  const [conflict] = all.filter((path) => path.startsWith("conflicts/"));
  return [
    "replicas",
    "tables",
    "permissions",
    "conflicts",
    conflict!,
    "parked",
    "audit",
    "audit?tab=acts",
    "sync",
    "people",
    "people?tab=log-ins",
    "view-as",
  ];
}

inChromium(
  "what is typed into a page's fields is text",
  async (browse) => {
    const page = await stage.as(await browse(), "cleo");
    const attacker = new Attacker(page);
    for (const path of await pagesWithFields()) {
      await attacker.attack(path, async () => {
        await visit(page, stage, path);
        return page.locator("main");
      });
    }
    await attacker.attack("search", async () => {
      await visit(page, stage, "");
      return page.locator("header.top");
    });
    expect(stage.complaints).toEqual([]);
  },
  PATIENT_MS,
);

inChromium(
  "what is typed into dialogs is stored as text, or refused with a reason",
  async (browse) => {
    const page = await stage.as(await browse(), "cleo");
    const attacker = new Attacker(page);
    for (const [path, button] of DIALOGS) {
      const dialog = page.getByRole("dialog");
      await attacker.attack(`${path}: ${button}`, async () => {
        await visit(page, stage, path);
        await page.getByRole("button", { name: button, exact: true }).click();
        await dialog.waitFor();
        return dialog;
      });
    }
    expect(stage.complaints).toEqual([]);
  },
  PATIENT_MS,
);

inChromium("what was stored is text on every page, and no field was left out", async (browse) => {
  const page = await stage.as(await browse(), "cleo");
  await page.setViewportSize({ width: 390, height: 800 });
  const isNarrow = () => document.documentElement.scrollWidth <= innerWidth;
  for (const path of await places(stage)) {
    await visit(page, stage, path);
    expect(await page.evaluate(() => "harmed" in window), path).toBe(false);
    expect(await page.locator("main img, main script, main iframe").count(), path).toBe(0);
    expect(await page.evaluate(isNarrow), path).toBe(true);
  }
  expect(stage.complaints).toEqual([]);
  const left = [...declared()].filter((label) => ![...seen].some((one) => one.startsWith(label)));
  expect(left).toEqual([]);
});
