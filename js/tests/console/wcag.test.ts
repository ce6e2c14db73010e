/**
 * Every page, and what opens on it, keeps to WCAG 2.2 AA as far as a tool can tell: on a phone and on
 * a desktop, light and dark.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { logIn, places, Stage, visit, WIDTHS } from "./stage.js";

let stage: Stage;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");

/** All rules by light; what depends on colours in the dark, too. */
const RULES = {
  light: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] },
  dark: { type: "rule", values: ["color-contrast", "link-in-text-block"] },
} as const;
type Scheme = keyof typeof RULES;

beforeAll(async () => {
  stage = await Stage.start();
});
afterAll(() => stage.stop());

/** What axe finds wrong with a page as it is, a line for each place. */
async function complaints(page: Page, where: string, scheme: Scheme): Promise<string[]> {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const found = await page.evaluate((rules): Promise<AxeResults> => {
    const { axe } = window as unknown as { axe: typeof import("axe-core") };
    const runOnly = { type: rules.type, values: [...rules.values] };
    return axe.run({ runOnly, resultTypes: ["violations"] });
  }, RULES[scheme]);
  expect(found.passes.map(({ id }) => id)).toContain("color-contrast");
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, any }) => `${where}: ${id}: ${html.slice(0, 160)}: ${any[0]?.message}`),
  );
}

/** The same at two widths, light and dark. */
async function everywhere(page: Page, what: string): Promise<string[]> {
  const all: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    for (const size of ["phone", "desktop"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width: WIDTHS[size], height: 900 });
      all.push(
        ...(await complaints(page, `${what || "overview"}, ${colorScheme}, ${size}`, colorScheme)),
      );
    }
  }
  return all;
}

inChromium("every page keeps to WCAG AA, light and dark, phone and desktop", async (browse) => {
  const page = await stage.page(await browse());
  const all = await everywhere(page, "log in");
  await logIn(page, "cleo");
  for (const path of await places(stage)) {
    await visit(page, stage, path);
    all.push(...(await everywhere(page, path)));
  }
  expect(all).toEqual([]);
});

inChromium("so does what opens on a page: dialogs, notes, problems, the menu", async (browse) => {
  const page = await stage.as(await browse(), "cleo");
  const all: string[] = [];
  const dialogs: readonly (readonly [string, string])[] = [
    ["people", "New user"],
    ["people", "Roles of ben"],
    ["people", "Delete ben"],
    ["people?tab=tenants", "New tenant"],
    ["people?tab=roles", "New role"],
    ["people?tab=tokens", "New token"],
    ["permissions", "New filter"],
    ["permissions", "Set many at once…"],
    ["discovery", "Track cart"],
    ["audit?tab=changes", "Put back task task-2 as it was before"],
    ["sync", "Details"],
    ["", "Keys"],
  ];
  for (const [path, button] of dialogs) {
    await visit(page, stage, path);
    await page.setViewportSize({ width: WIDTHS.desktop, height: 900 });
    await page.getByRole("button", { name: button, exact: true }).first().click();
    await page.getByRole("dialog").waitFor();
    await page.waitForFunction(() => document.querySelector("dialog [aria-busy=true]") === null);
    all.push(...(await everywhere(page, `${path}: ${button}`)));
  }
  await visit(page, stage, "people?tab=roles");
  await page.setViewportSize({ width: WIDTHS.desktop, height: 900 });
  await page.getByRole("button", { name: "Add the usual seven" }).click();
  await page.getByText("The usual roles are there.").waitFor();
  all.push(...(await everywhere(page, "a note")));
  await page.route("**/api/**", (route) => route.abort());
  await page.getByRole("link", { name: "Users" }).last().click();
  await page.setViewportSize({ width: WIDTHS.phone, height: 900 });
  await page.getByRole("alert").first().waitFor();
  await page.getByRole("button", { name: "Menu" }).click();
  all.push(...(await everywhere(page, "no line, and the menu")));
  expect(all).toEqual([]);
});

inChromium("who may only look has pages that keep to it, too", async (browse) => {
  const page = await stage.as(await browse(), "rita");
  const all: string[] = [];
  for (const path of ["permissions", "people", "parked", "discovery"]) {
    await visit(page, stage, path);
    all.push(...(await everywhere(page, path)));
  }
  expect(all).toEqual([]);
});
