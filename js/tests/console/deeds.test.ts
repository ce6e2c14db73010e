/**
 * What people do in the console takes effect: in the database, in the audit trail, on other screens.
 */

import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { logIn, photograph, Stage, visit } from "./stage.js";

let stage: Stage;
const PATIENT = { timeout: 60_000 };

beforeAll(async () => {
  stage = await Stage.start();
});
afterAll(() => stage.stop());

inChromium("an open conflict is decided, and the row follows", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "conflicts?state=open");
  await page.getByRole("link", { name: "task task-0" }).click();
  await page.getByRole("heading", { name: "Conflict: task task-0" }).waitFor();
  await page.getByRole("heading", { name: "The replica wanted" }).waitFor();
  await photograph(page, "conflict");
  await page.getByRole("button", { name: "Take this: The replica wanted" }).click();
  await page.getByText(/Decided, in commit \d+\./).waitFor();
  expect(await stage.sql("select note from task where id = 'task-0'")).toEqual([["Nine tonnes"]]);
  await page.getByText("by cleo").first().waitFor();
  await page.getByRole("link", { name: "Conflicts", exact: true }).click();
  await page.getByRole("row").filter({ hasText: "decided" }).waitFor();
});

inChromium("a number, or nothing, is typed for a conflict of a number", async (browse) => {
  const sql = "select flight_id, typeof(flight_id) from task where id = 'task-1'";
  const flights = (await stage.sql("select id from flight order by id limit 4")).flat();
  const page = await stage.as(await browse(), "cleo");
  for (const isNull of [false, true]) {
    const met = isNull ? [flights[1], flights[2]] : [null, flights[0]];
    const update = "update task set flight_id = ? where id = 'task-1'";
    for (const [index, replica] of ["till", "tablet"].entries())
      await stage.ask({ do: "run", replica, sql: update, values: [met[index]] });
    for (const replica of ["till", "tablet"]) await stage.ask({ do: "sync", replica });
    expect((await stage.sql(sql))[0]![0]).toBe(met[0]);
    const [[id]] = (await stage.sql(
      "select id from reunite_hub_conflict where column_name = 'flight_id' and state = 'open'",
    )) as [[string]];
    await visit(page, stage, `conflicts/${id}`);
    if (isNull) await page.getByLabel("no value (null)").check();
    else await page.getByLabel("Or another value of flight_id").fill(String(flights[3]));
    await page.getByRole("button", { name: "Take what is typed" }).click();
    await page.getByText("by cleo").first().waitFor();
    expect(await stage.sql(sql)).toEqual([isNull ? [null, "null"] : [flights[3], "integer"]]);
    for (const replica of ["till", "tablet"]) await stage.ask({ do: "sync", replica });
  }
});

inChromium("a commit is looked at field by field, and undone after a preview", async (browse) => {
  await stage.sql("update flight set delay = 99 where id = (select max(id) from flight)");
  const page = await stage.as(await browse(), "cleo", "audit");
  await page.getByRole("row").filter({ hasText: "flight 1" }).getByRole("link").first().click();
  const change = page.getByRole("article").filter({ hasText: "delay" });
  await change.getByText("99").waitFor();
  await photograph(page, "commit");
  await page.getByRole("button", { name: "Undo this commit…" }).click();
  await page.getByRole("dialog").getByText("1 row will be as they were before").waitFor();
  await page.getByRole("button", { name: "Undo it" }).click();
  await page.getByText(/Undone, in commit \d+\./).waitFor();
  const sql = "select count(*) from flight where delay = 99";
  expect(await stage.sql(sql)).toEqual([[0]]);
});

inChromium("a row is put back as it was before a change", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "audit?tab=changes&table=task");
  const change = page
    .getByRole("article")
    .filter({ hasText: "task task-2" })
    .filter({ hasText: "To do" })
    .or(page.getByRole("article").filter({ hasText: "task-2" }))
    .first();
  await change.getByRole("button", { name: /Put back task task-2/ }).click();
  await page.getByRole("dialog").getByRole("row").filter({ hasText: "lane" }).waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Put back" }).click();
  await page.getByText(/Put back, in commit \d+\./).waitFor();
  expect(await stage.sql("select lane from task where id = 'task-2'")).toEqual([["Doing"]]);
});

inChromium("what the hub refused is listed with its reason, and settled", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "parked?state=open");
  const line = page.getByRole("row").filter({ hasText: "task-3" });
  await line.getByText("not-allowed").waitFor();
  await line.getByRole("button", { name: "Settle" }).click();
  await page.getByText("It is settled.").waitFor();
  await line.waitFor({ state: "detached" });
  await page.goto(`${stage.url}parked?state=settled`);
  await line.getByText("by cleo").waitFor();
});

inChromium("a user is made, given a role, logs in, and is deleted", async (browse) => {
  const context = await browse();
  const page = await stage.as(context, "cleo", "people");
  await page.getByRole("button", { name: "New user" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill("finn");
  await dialog.getByLabel("Password").fill("correct horse battery");
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByText("finn is saved.").waitFor();
  await page.getByRole("button", { name: "Roles of finn" }).click();
  await dialog.getByLabel("Role").fill("console:read");
  await dialog.getByRole("button", { name: "Give" }).click();
  await dialog.getByRole("button", { name: "Take away console:read" }).waitFor();
  const finn = await stage.page(context, "", "localhost");
  await logIn(finn, "finn");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Delete finn" }).click();
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByText("finn is deleted.").waitFor();
  await finn.getByText("Your session is over").waitFor();
  expect(await stage.sql("select count(*) from reunite_user where name = 'finn'")).toEqual([[0]]);
  await page.goto(`${stage.url}audit?tab=acts`);
  await page
    .getByRole("row")
    .filter({ hasText: "finn" })
    .filter({ hasText: "cleo" })
    .first()
    .waitFor();
});

inChromium("a tenant and a token are made; the token is shown once and revoked", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "people?tab=tenants");
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "New tenant" }).click();
  await dialog.getByLabel("Name", { exact: true }).fill("laguardia");
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByRole("row").filter({ hasText: "laguardia" }).waitFor();
  await page.getByRole("link", { name: "Tokens" }).click();
  await page.getByRole("button", { name: "New token" }).click();
  await dialog.getByLabel("User", { exact: true }).fill("ben");
  await dialog.getByLabel("Label").fill("gate screen");
  await dialog.getByRole("button", { name: "Make it" }).click();
  const token = page.getByRole("dialog").getByLabel("Token", { exact: true });
  expect((await token.inputValue()).length).toBeGreaterThan(20);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Revoke gate screen" }).click();
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("row").filter({ hasText: "gate screen" }).waitFor({ state: "detached" });
});

inChromium("the hub as somebody sees it, and why", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "view-as?user=ben");
  const flights = page.getByRole("row").filter({ hasText: "flight" });
  await flights.getByText("some rows").first().waitFor();
  await flights.getByRole("link", { name: "flight" }).click();
  await page.getByText(/ben sees \d rows of flight/).waitFor();
  await photograph(page, "view-as-rows");
  await page.getByRole("link", { name: "why" }).first().click();
  await page
    .getByText(/Users may push/)
    .first()
    .waitFor();
});

inChromium("numbers follow what happens, without anybody asking", async (browse) => {
  const page = await stage.as(await browse(), "cleo");
  const card = (name: string) =>
    page.locator("dl.cards > div").filter({ hasText: name }).first().locator("dd");
  await card("Commits").waitFor();
  const before = Number(await card("Commits").innerText());
  await stage.sql("insert into product values ('kite', 'Kite', 100, 3)");
  await expect
    .poll(async () => Number(await card("Commits").innerText()), PATIENT)
    .toBe(before + 1);
  await page.goto(`${stage.url}tables/product`);
  await page.getByText("5", { exact: true }).first().waitFor();
  await page.goto(`${stage.url}sync`);
  const pushes = page.getByRole("row").filter({ hasText: "push" });
  await pushes.first().waitFor();
  const shown = await pushes.count();
  await stage.ask({
    do: "run",
    replica: "till",
    sql: "update task set lane = 'Done' where id = 'task-5'",
  });
  await stage.ask({
    do: "run",
    replica: "till",
    sql: "update task set owner = 'Ada' where id = 'task-1'",
  });
  await stage.ask({ do: "sync", replica: "till" });
  await expect.poll(() => pushes.count(), PATIENT).toBe(shown + 1);
});

inChromium("a table is tracked from the list of those left out", async (browse) => {
  const page = await stage.as(await browse(), "cleo", "discovery");
  await page.getByRole("button", { name: "Track cart" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Track" }).click();
  await page.getByText("cart is tracked from now on.").waitFor();
  await page.goto(`${stage.url}tables`);
  await page.getByRole("link", { name: "cart" }).waitFor();
});
