/**
 * The matrix of a large hub, 200 tables by 50 roles: 60,000 boxes, of which a page has some hundred.
 */

import { afterAll, beforeAll, expect } from "vitest";
import { inChromium, watched } from "../browser/chromium.js";
import { Stage, visit } from "./stage.js";

let stage: Stage;
const PATIENT = { timeout: 60_000 };

beforeAll(async () => {
  stage = await Stage.start("console_large.py");
});
afterAll(() => stage.stop());

inChromium("it scrolls to its last box, which is clicked and stored", async (browse) => {
  const context = await browse();
  const page = await stage.as(context, "cleo", "permissions");
  const matrix = page.getByRole("region", { name: "Permissions" });
  const boxes = matrix.getByRole("checkbox");
  await page.getByText("200 tables, 51 roles").waitFor();
  const first = page.getByLabel("role 00 may read table_000");
  const last = page.getByLabel("role 49 may delete rows of table_199");
  await first.waitFor();
  expect(await last.count()).toBe(0);
  expect(await boxes.count()).toBeLessThan(3_000);

  const scroll = async () => {
    for (const share of [0.2, 0.4, 0.6, 0.8, 1]) {
      await matrix.evaluate((box, part) => {
        box.scrollTo(box.scrollWidth * part, box.scrollHeight * part);
      }, share);
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => drawn(0))));
    }
    await last.waitFor();
    await matrix.evaluate((box) => box.scrollTo(0, 0));
    await first.waitFor();
  };
  const tasks: number[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    tasks.push((await watched(context, page, scroll)).taskMsMax);
    expect(await boxes.count()).toBeLessThan(3_000);
  }
  expect(Math.min(...tasks)).toBeLessThan(500);

  await matrix.evaluate((box) => box.scrollTo(box.scrollWidth, box.scrollHeight));
  const { taskMsMax } = await watched(context, page, async () => {
    await last.click();
    await page.getByText("role 49 may delete rows of table_199.").waitFor();
  });
  expect(taskMsMax).toBeLessThan(1_000);
  const sql = `select can_delete from reunite_permission
    where role = 'role 49' and table_name = 'table_199'`;
  await expect.poll(() => stage.sql(sql), PATIENT).toEqual([[1]]);
  expect(await last.isChecked()).toBe(true);
});

inChromium("arrows lead on past what is in sight, and it narrows to a name", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "permissions");
  await page.getByLabel("role 00 may push changes of table_000").focus();
  for (let row = 1; row <= 30; row += 1) {
    await page.keyboard.press("ArrowDown");
    const next = `role 00 may push changes of table_${String(row).padStart(3, "0")}`;
    await page.waitForFunction((name) => document.activeElement?.ariaLabel === name, next);
  }
  const tops = await page.evaluate(() => {
    const box = document.activeElement!.closest("section")!.getBoundingClientRect();
    const at = document.activeElement!.getBoundingClientRect();
    return [at.top - box.top, box.bottom - at.bottom];
  });
  expect(Math.min(...tops)).toBeGreaterThan(0);
  await visit(page, stage, "permissions?table=table_19&role=role%204");
  await page.getByText("Table", { exact: true }).first().waitFor();
  await expect.poll(() => page.getByRole("checkbox").count()).toBe(10 * 10 * 6);
});
