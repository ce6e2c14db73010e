/**
 * The console in a Django project, over WSGI: its staff log in with Django, change its permissions,
 * and read what was done.
 */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { Stage, visit } from "./stage.js";

let stage: Stage;
const PATIENT = { timeout: 60_000 };
const READS = `select can_read from sync_model_permission p
  join auth_group g on g.id = p.group_id where g.name = 'Nurses'`;

beforeAll(async () => {
  stage = await Stage.start("console_django.py");
});
afterAll(() => stage.stop());

/** Log in where Django does it, and come back. */
async function enter(page: Page, user: string): Promise<void> {
  await page.getByRole("link", { name: "Log in" }).click();
  await page.getByLabel("Username").fill(user);
  await page.getByLabel("Password").fill("correct horse battery");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("navigation", { name: "Pages" }).waitFor({ state: "attached" });
}

inChromium("staff log in, change the matrix, and read that they did", async (browse) => {
  const page = await stage.page(await browse());
  await enter(page, "cleo");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByText("polling", { exact: true }).waitFor();
  await page.goto(`${stage.url}permissions/1/`);
  expect(new URL(page.url()).search).toBe("?tenant=acme");
  const box = page.getByLabel("Nurses may read clinic_patient", { exact: true });
  await expect.poll(() => box.isChecked(), PATIENT).toBe(true);
  await box.hover();
  await page.getByText(/Without “read”, Nurses in clinic_patient: 2 rows vanish/).waitFor();
  await box.click();
  await page.getByText("Nurses may not read clinic_patient.").waitFor();
  expect(await stage.sql(READS)).toEqual([[0]]);
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByText("Undone.").waitFor();
  expect(await stage.sql(READS)).toEqual([[1]]);
  await visit(page, stage, "audit?tab=acts");
  const acts = page.getByRole("row").filter({ hasText: "permission.changed" });
  await acts.first().waitFor();
  expect(await acts.count()).toBe(2);
  expect(await acts.first().innerText()).toContain("cleo");
  // Django's own pages miss their scripts here: this project serves none.
  const ours = stage.complaints.filter((one) => !one.includes("Unexpected token '<'"));
  expect(ours).toEqual([]);
});

inChromium("a commit of the project is undone, and its row is as it was", async (browse) => {
  const page = await stage.page(await browse());
  await enter(page, "cleo");
  await stage.sql("update clinic_patient set name = 'Eve' where name = 'Bea'");
  await visit(page, stage, "audit");
  await page
    .getByRole("row")
    .filter({ hasText: "clinic_patient 1" })
    .getByRole("link")
    .first()
    .click();
  await page.getByRole("article").filter({ hasText: "Bea" }).getByText("Eve").waitFor();
  await page.getByRole("button", { name: "Undo this commit…" }).click();
  await page.getByRole("button", { name: "Undo it" }).click();
  await page.getByText(/Undone, in commit \d+\./).waitFor();
  const names = "select name from clinic_patient order by name";
  expect(await stage.sql(names)).toEqual([["Ada"], ["Bea"]]);
});

inChromium("people are listed, and lead into Django's admin", async (browse) => {
  const page = await stage.page(await browse());
  await enter(page, "cleo");
  await visit(page, stage, "people");
  await page.getByText("change them in its admin").first().waitFor();
  expect(await page.getByRole("button", { name: "New user" }).isDisabled()).toBe(true);
  const ann = page.getByRole("row").filter({ hasText: "Nurses in acme" });
  await ann.getByRole("link", { name: "Change ann in the admin" }).click();
  await page.waitForURL(/\/admin\/auth\/user\/\d+\/change\/$/);
  await visit(page, stage, "people?tab=tenants");
  await page.getByRole("link", { name: "Change acme in the admin" }).waitFor();
});

inChromium("who may only look changes nothing; who is no staff sees nothing", async (browse) => {
  const context = await browse();
  const page = await stage.page(context);
  await enter(page, "rita");
  await visit(page, stage, "permissions?tenant=acme");
  await page.getByText("your roles lack console:write").first().waitFor();
  expect(
    await page.getByLabel("Nurses may read clinic_patient", { exact: true }).isDisabled(),
  ).toBe(true);
  await page.goto(`${stage.url}api/users`);
  expect(await page.content()).toContain("ann");
  const other = await stage.page(context, "", "localhost");
  await other.getByRole("link", { name: "Log in" }).click();
  await other.getByLabel("Username").fill("ann");
  await other.getByLabel("Password").fill("correct horse battery");
  await other.getByRole("button", { name: "Log in" }).click();
  expect(
    (await other.goto(`${stage.url.replace("127.0.0.1", "localhost")}api/users`))!.status(),
  ).not.toBe(200);
});

inChromium("a session that ends leads to Django's log-in, and back", async (browse) => {
  const page = await stage.page(await browse(), "replicas");
  await enter(page, "cleo");
  await visit(page, stage, "");
  await stage.ask({ do: "leave", user: "cleo" });
  await page.getByRole("link", { name: "Replicas", exact: true }).first().click();
  await page.getByText("Your session is over").waitFor();
  await enter(page, "cleo");
  await page.getByRole("heading", { level: 1 }).waitFor();
});
