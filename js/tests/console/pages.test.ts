/**
 * Every page of the console, with a real hub behind it: it shows what is there, fits a phone, and
 * says what to do where there is nothing.
 */

import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { fitsAPhone, photograph, places, Stage, visit } from "./stage.js";

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

inChromium("no page asks for what the hub takes for nonsense", async (browse) => {
  const page = await stage.as(await browse(), "cleo");
  const refused: string[] = [];
  page.on("response", (response) => {
    if (response.status() === 400) refused.push(response.url());
  });
  for (const path of await places(stage)) await visit(page, stage, path);
  expect(refused).toEqual([]);
});

inChromium("jobs and the history of a row have what there is", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "jobs");
  await page.getByRole("row").filter({ hasText: "hourly report" }).getByText("3600 s").waitFor();
  const key = encodeURIComponent('["task-0"]');
  await visit(page, stage, `row?table=task&key=${key}`);
  await page.getByRole("article").filter({ hasText: "Eight tonnes" }).first().waitFor();
});

inChromium("new tables are said to be left out, and those without a key why", async (browse) => {
  await stage.sql("create table keyless (a text)");
  const page = await stage.as(await browse(), "cleo", "discovery");
  await page
    .getByRole("row")
    .filter({ hasText: "keyless" })
    .getByText(/has no primary key/)
    .waitFor();
  await page.getByText("left out until they are named").waitFor();
});
