/**
 * The matrix of permissions: what is clicked is stored, can be undone, and is seen by whoever else
 * looks at it.
 */

import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { photograph, Stage } from "./stage.js";

let stage: Stage;
const PATIENT = { timeout: 60_000 };

beforeAll(async () => {
  stage = await Stage.start();
});
afterAll(() => stage.stop());

const FLAGS = "can_push, can_pull, can_create, can_update, can_delete, can_read";

/** What the database says of a role and a table outside of any tenant. */
async function stored(role: string, table: string): Promise<unknown> {
  const sql = `select ${FLAGS} from reunite_permission
    where role = ? and table_name = ? and tenant = ''`;
  return (await stage.sql(sql, role, table))[0]?.map(Boolean) ?? null;
}

inChromium("a click is stored at once, undone at will, and seen by others", async (browse) => {
  const context = await browse();
  const cleo = await stage.as(context, "cleo", "permissions");
  const dora = await stage.as(context, "dora", "permissions", "localhost");
  const name = "Managers may read airline";
  const [here, there] = [cleo.getByLabel(name), dora.getByLabel(name)];
  expect(await here.isChecked()).toBe(false);
  await cleo.getByLabel("Analysts may read flight").hover();
  await cleo.getByText(/Without “read”, Analysts in flight: 8 rows vanish/).waitFor();
  await here.click();
  await cleo.getByText("Managers may read airline.").waitFor();
  await expect
    .poll(() => stored("Managers", "airline"), PATIENT)
    .toEqual([false, false, false, false, false, true]);
  await expect.poll(() => there.isChecked(), PATIENT).toBe(true);

  await cleo.getByRole("button", { name: "Undo" }).click();
  await cleo.getByText("Undone.").waitFor();
  expect(await stored("Managers", "airline")).toBe(null);
  await expect.poll(() => there.isChecked(), PATIENT).toBe(false);
  expect(await here.isChecked()).toBe(false);
  expect(stage.complaints).toEqual([]);
});

inChromium("what somebody else changed meanwhile is not overwritten", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "permissions");
  await page.getByLabel("Managers may pull product").waitFor();
  // Somebody else's change that this page has not heard of.
  await page.route("**/api/events", (route) => route.abort());
  await page.route(
    "**/api/permissions",
    async (route) => {
      await page.unroute("**/api/permissions");
      const elsewhere = page.context().request;
      const session = await (await elsewhere.get(`${stage.url}api/session`)).json();
      const put = await elsewhere.put(`${stage.url}api/permissions`, {
        headers: { [session.csrf.header]: session.csrf.token, "If-Match": "-" },
        data: {
          tenant: "",
          role: "Managers",
          table: "product",
          flags: {
            push: false,
            pull: false,
            create: false,
            update: false,
            delete: true,
            read: true,
          },
        },
      });
      expect(put.status()).toBe(200);
      await route.continue();
    },
    { times: 1 },
  );
  await page.getByLabel("Managers may pull product").click();
  await page.getByRole("alert").waitFor();
  await expect
    .poll(() => page.getByLabel("Managers may read product").isChecked(), PATIENT)
    .toBe(true);
  expect(await page.getByLabel("Managers may pull product").isChecked()).toBe(false);
  expect(await stored("Managers", "product")).toEqual([false, false, false, false, true, true]);
});

inChromium("many are set at once after a preview, and undone together", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "permissions");
  await page.getByRole("button", { name: "Set many at once…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Role").selectOption("Sales");
  await dialog.getByLabel("Table").selectOption("");
  await dialog.getByLabel("What").selectOption("template:read_only");
  await dialog.getByText(/16 rows appear/).waitFor();
  await photograph(page, "permissions-many");
  await dialog.getByRole("button", { name: "Set 6" }).click();
  await page.getByText("6 permissions are set.").waitFor();
  const count = "select count(*) from reunite_permission where role = 'Sales' and can_read";
  await expect.poll(() => stage.sql(count), PATIENT).toEqual([[6]]);
  expect(await page.getByLabel("Sales may read task").isChecked()).toBe(true);
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByText("Undone.").waitFor();
  expect(await stage.sql(count)).toEqual([[0]]);
});

inChromium("the matrix of a tenant is its own, and arrows lead through it", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "permissions");
  await page
    .getByLabel("Tenant", { exact: false })
    .and(page.locator("select"))
    .selectOption("newark");
  await expect
    .poll(() => page.getByLabel("Managers may update rows of task").isChecked(), PATIENT)
    .toBe(true);
  expect(await page.getByLabel("Administrators may read task").isChecked()).toBe(false);
  expect(new URL(page.url()).search).toBe("?tenant=newark");
  await page.getByLabel("Managers may push changes of product").focus();
  for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "Space"]) {
    await page.keyboard.press(key);
  }
  await page.getByText("Managers may push changes of purchase.").waitFor();
  const sql = "select tenant, can_push from reunite_permission where table_name = 'purchase'";
  await expect.poll(async () => (await stage.sql(sql)).map(String), PATIENT).toContain("newark,1");
  await page.reload();
  await expect
    .poll(() => page.getByLabel("Managers may push changes of purchase").isChecked(), PATIENT)
    .toBe(true);
});

inChromium("a filter is made, changed and deleted", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "permissions");
  await page.getByRole("button", { name: "New filter" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Role").selectOption("Analysts");
  await dialog.getByLabel("Table").selectOption("flight");
  await dialog.getByLabel("Name", { exact: true }).fill("late ones");
  await dialog.getByLabel(/Only rows with/).fill('{"field": "delay", "operator": "gt"');
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.getByText("The condition is no JSON").waitFor();
  await dialog
    .getByLabel(/Only rows with/)
    .fill('{"field": "delay", "operator": "gt", "value": 20}');
  await dialog.getByRole("button", { name: "Save" }).click();
  const line = page.getByRole("row").filter({ hasText: "late ones" });
  await line.getByText("row.delay > 20").waitFor();
  await page.getByRole("row").filter({ hasText: "Analysts" }).first().waitFor();
  await line.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await line.waitFor({ state: "detached" });
  expect(await stage.sql("select count(*) from reunite_filter where role = 'Analysts'")).toEqual([
    [0],
  ]);
});
