/**
 * Who comes in, what they may, and that nothing which is shown does any harm.
 */

import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "../browser/chromium.js";
import { logIn, photograph, Stage } from "./stage.js";

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start();
});
afterAll(() => stage.stop());

inChromium("a printed link opens the console once, and leaves no code behind", async (browse) => {
  const context = await browse();
  const { link } = await stage.ask({ do: "link" });
  const page = await context.newPage();
  await page.goto(link!);
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  expect(page.url()).toBe(stage.url);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Password").waitFor();
  await page.goto("about:blank");
  await page.goto(link!);
  await page.getByText("That link was used already").waitFor();
});

inChromium("a wrong password says so, and a deep link is where one arrives", async (browse) => {
  const page = await stage.page(await browse(), "replicas?state=behind");
  await page.getByLabel("User").fill("cleo");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").waitFor();
  await photograph(page, "log-in");
  await logIn(page, "cleo");
  await page.getByRole("heading", { name: "Replicas" }).waitFor();
  expect(await page.getByLabel("State").inputValue()).toBe("behind");
});

inChromium("who may only look is told so, and every control is off", async (browse) => {
  const page = await stage.as(await browse(), "rita", "permissions");
  await page.getByText("your roles lack console:write").first().waitFor();
  expect(await page.getByLabel("Users may read task").isDisabled()).toBe(true);
  expect(await page.getByRole("button", { name: "Set many at once…" }).isDisabled()).toBe(true);
  await page.goto(`${stage.url}people`);
  expect(await page.getByRole("button", { name: "New user" }).isDisabled()).toBe(true);
  const refused = await page.evaluate(async () => {
    const { csrf } = await (await fetch("api/session")).json();
    const headers = { [csrf.header]: csrf.token, "Content-Type": "application/json" };
    const body = JSON.stringify({ name: "mallory" });
    return (await fetch("api/users", { method: "PUT", headers, body })).status;
  });
  expect(refused).toBe(403);
});

inChromium("a session that ends leads to the log-in, and back to where one was", async (browse) => {
  const page = await stage.as(await browse(), "dora", "replicas?q=till");
  await page.getByRole("link", { name: "till.db" }).waitFor();
  await page.context().clearCookies();
  await page.getByRole("link", { name: "Overview" }).click();
  await page.getByText("Your session is over").waitFor();
  await page.goBack();
  await logIn(page, "dora");
  await page.getByRole("link", { name: "till.db" }).waitFor();
});

inChromium("somebody who loses the right is out at once", async (browse) => {
  const page = await stage.as(await browse(), "dora");
  await page.getByText("live", { exact: true }).waitFor();
  await stage.ask({ do: "leave", user: "dora" });
  await page.getByText("Your session is over").waitFor();
});

inChromium("what people typed is text, wherever it is shown", async (browse) => {
  const page = await stage.as(await browse(), "cleo");
  const menu = page.getByRole("navigation", { name: "Pages" }).getByRole("link");
  const links = await menu.evaluateAll((all) => all.map((one) => (one as HTMLAnchorElement).href));
  links.push(`${stage.url}people?q=%3Cb%3Eeve`, `${stage.url}search?q=%3Cb%3Eodd`);
  for (const href of [...links, `${stage.url}tables/${encodeURIComponent("<b>odd</b>")}`]) {
    await page.goto(href);
    await page.locator("main h1").waitFor();
    await page.locator("main [aria-busy=true]").first().waitFor({ state: "detached" });
    expect(await page.evaluate(() => "harmed" in window)).toBe(false);
    expect(await page.locator("main img, main script, main iframe").count()).toBe(0);
  }
  await page.goto(`${stage.url}people`);
  await page.getByText("<b>eve</b>").waitFor();
  expect(stage.complaints).toEqual([]);
});

inChromium(
  "keys lead to pages, search and help; colours are a choice that stays",
  async (browse) => {
    const page = await stage.as(await browse(), "cleo");
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.keyboard.type("gr");
    await page.getByRole("heading", { name: "Replicas" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("till");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Search: till" }).waitFor();
    await page.locator("main").getByRole("link", { name: "till.db" }).click();
    await page.getByRole("heading", { name: "till.db" }).waitFor();
    await page.locator("main h1").click();
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.getByRole("button", { name: /Colours: auto/ }).click();
    await page.getByRole("button", { name: /Colours: light/ }).click();
    await page.reload();
    await page.getByRole("button", { name: /Colours: dark/ }).waitFor();
    expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  },
);

inChromium(
  "a hub that is away is said to be, and the page goes on when it is back",
  async (browse) => {
    const context = await browse();
    const page = await stage.as(context, "cleo");
    await page.getByText("live", { exact: true }).waitFor();
    await page.route("**/api/**", (route) => route.abort());
    await page.keyboard.type("gr");
    await page.getByText("The hub does not answer").first().waitFor();
    await page.unroute("**/api/**");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("link", { name: "till.db" }).waitFor();
  },
);
