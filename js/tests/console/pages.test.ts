/**
 * Every page of the console, with a real hub behind it: it shows what is there, fits a phone, and
 * says what to do where there is nothing.
 */

import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { fitsAPhone, photograph, Stage } from "./stage.js";

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start();
});
afterAll(() => stage.stop());

inChromium("every page has a title, an address of its own, and fits a phone", async (browse) => {
  const page = await stage.as(await browse(), "cleo");
  const menu = page.getByRole("navigation", { name: "Pages" }).getByRole("link");
  const links = await menu.evaluateAll((found) =>
    found.map((link) => [(link as HTMLAnchorElement).href, link.textContent] as const),
  );
  expect(links.length).toBeGreaterThan(1);
  for (const [href, name] of links) {
    await page.goto(href);
    await page.getByRole("heading", { level: 1, name: name! }).waitFor();
    await expect.poll(() => page.title()).toBe(`${name} · reunite`);
    await page.locator("main [aria-busy=true]").first().waitFor({ state: "detached" });
    await photograph(
      page,
      name!
        .toLowerCase()
        .replaceAll(/[^a-z]+/g, "-")
        .replace(/-$/, ""),
    );
    expect(await fitsAPhone(page), href).toBe(true);
  }
  expect(stage.complaints).toEqual([]);
});
