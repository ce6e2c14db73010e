/**
 * The demos of `examples/web` do what their pages say, in a real browser.
 */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { inChromium } from "./chromium.js";
import { Demos, device, fitsAPhone, photograph, says, setLine } from "./demos.js";

let demos: Demos;

const PATIENT = { timeout: 60_000 };

beforeAll(async () => {
  demos = await Demos.start();
});
afterAll(() => demos.stop());

inChromium(
  "two devices edit apart, reunite, and people choose between two notes",
  async (browse) => {
    const page = await demos.open(await browse());
    const [ada, ben] = [device(page, "Ada"), device(page, "Ben")];
    for (const name of ["Ada", "Ben"]) await says(page, name, /^live$/);
    await ada.getByRole("listitem").filter({ hasText: "Refuel" }).waitFor();

    for (const name of ["Ada", "Ben"]) {
      await setLine(page, name, false);
      await says(page, name, /^offline/);
    }
    for (const [frame, note] of [
      [ada, "Eight tonnes"],
      [ben, "Nine tonnes"],
    ] as const) {
      await frame.getByRole("button", { name: "Edit Refuel" }).click();
      await frame.getByRole("textbox", { name: "Note" }).fill(note);
      await frame.getByRole("button", { name: "Save" }).click();
    }
    await ben.getByLabel("New task").fill("Paint the tail");
    await ben.getByRole("button", { name: "Add", exact: true }).click();
    await ben.getByLabel("Lane of Clean the cabin").selectOption("Done");
    await says(page, "Ben", /3 changes wait/);
    expect(await ada.getByText("Paint the tail").count()).toBe(0);

    await setLine(page, "Ada", true);
    await says(page, "Ada", /^live$/);
    await setLine(page, "Ben", true);
    await says(page, "Ben", /^live$/);
    await ada.getByText("Paint the tail").waitFor();
    await ada.getByLabel("Done").getByText("Clean the cabin").waitFor();

    const conflict = ben.getByRole("group", { name: "Conflict of “Refuel”" });
    await conflict.getByText("Which one shall it be?").waitFor();
    await photograph(page, "two-devices");
    await conflict.getByRole("button", { name: "Mine Nine tonnes" }).click();
    await ada.getByText("Nine tonnes").waitFor();
    await conflict.waitFor({ state: "detached" });
    expect(await ada.getByText("Eight tonnes").count()).toBe(0);
    expect(await fitsAPhone(page)).toBe(true);
  },
);

inChromium(
  "a task is added, moved, changed and deleted with the keyboard alone",
  async (browse) => {
    const page = await demos.open(await browse(), "device.html?demo=board&name=Ada");
    await page.getByText("live", { exact: true }).waitFor();
    await page.keyboard.press("Tab");
    await expect.poll(() => page.getByRole("switch").evaluate(isFocused), PATIENT).toBe(true);
    await page.keyboard.press("Tab");
    await page.keyboard.type("By hand");
    await page.keyboard.press("Enter");
    const lane = page.getByLabel("Lane of By hand");
    await lane.focus();
    for (const name of ["Doing", "Done"]) {
      await page.keyboard.press("ArrowDown");
      await page.getByLabel(name, { exact: true }).getByText("By hand").waitFor();
      await expect.poll(() => lane.evaluate(isFocused), PATIENT).toBe(true);
    }
    await page.getByRole("button", { name: "Edit By hand" }).focus();
    await page.keyboard.press("Enter");
    await expect
      .poll(() => page.getByRole("textbox", { name: "Title" }).evaluate(isFocused), PATIENT)
      .toBe(true);
    await page.keyboard.press("Escape");
    await expect
      .poll(() => page.getByRole("button", { name: "Edit By hand" }).evaluate(isFocused), PATIENT)
      .toBe(true);
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Delete" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("By hand").waitFor({ state: "detached" });
    // Its neighbour in the lane has the focus, and people go on from there.
    const neighbour = page.getByLabel("Done", { exact: true }).getByRole("combobox").first();
    await expect.poll(() => neighbour.evaluate(isFocused), PATIENT).toBe(true);
  },
);

inChromium("who works by keyboard is never thrown back to the beginning", async (browse) => {
  const context = await browse();
  const isOn = (page: Page, name: RegExp | string) => async () => {
    const found = page.getByRole("button", { name }).first();
    return (await found.count()) > 0 && found.evaluate(isFocused);
  };
  let page = await demos.open(context, "device.html?demo=notifications&name=Cleo");
  const reads = page.getByRole("button", { name: /^Mark as read: / });
  await expect.poll(() => reads.count(), { timeout: 60_000 }).toBeGreaterThan(2);
  await page.getByRole("switch").click(); // so that no news comes in between
  await page.getByText(/^offline/).waitFor();
  await reads.first().focus();
  const second = (await reads.nth(1).getAttribute("aria-label"))!;
  await page.keyboard.press("Enter");
  await expect.poll(isOn(page, second), PATIENT).toBe(true);
  await page.getByRole("button", { name: "Mark all as read" }).focus();
  await page.keyboard.press("Enter");
  const list = page.getByRole("list", { name: "Notifications" });
  await expect.poll(() => list.evaluate(isFocused), PATIENT).toBe(true);
  await page.close();

  page = await demos.open(context, "device.html?demo=shop&name=Cleo");
  await page.getByText("live", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Add Neck pillow to the cart" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "One Neck pillow less" }).focus();
  await page.keyboard.press("Enter");
  const cart = page.getByRole("list", { name: "Cart" });
  await expect.poll(() => cart.evaluate(isFocused), PATIENT).toBe(true);
  await page.getByRole("button", { name: "Add Neck pillow to the cart" }).focus();
  await page.keyboard.press("Enter");
  await cart.getByText("1 × Neck pillow").waitFor(); // nobody can order nothing
  await page.getByRole("button", { name: "Order", exact: true }).focus();
  await page.keyboard.press("Enter");
  const orders = page.getByRole("list", { name: "Orders" });
  await expect.poll(() => orders.evaluate(isFocused), PATIENT).toBe(true);
  await orders.getByText("1 × Neck pillow").waitFor();
});

inChromium("a device whose storage is thrown away begins again by itself", async (browse) => {
  const context = await browse();
  const page = await demos.open(context, "device.html?demo=board&name=Dora");
  await page.getByText("live", { exact: true }).waitFor();
  await page.getByText("Load the bags").waitFor();
  const loaded = page.waitForEvent("load");
  const devtools = await context.newCDPSession(page);
  const { origin } = new URL(demos.url);
  await devtools.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb" });
  await loaded;
  await page.getByText("live", { exact: true }).waitFor();
  await page.getByText("Load the bags").waitFor();
});

inChromium(
  "what is typed offline in the chat is sent later, and the other one catches up",
  async (browse) => {
    const page = await demos.open(await browse(), "chat.html");
    const [ada, ben] = [device(page, "Ada"), device(page, "Ben")];
    for (const name of ["Ada", "Ben"]) await says(page, name, /^live$/);
    const say = async (frame: typeof ada, text: string) => {
      await frame.getByLabel("Message", { exact: true }).fill(text);
      await frame.getByLabel("Message", { exact: true }).press("Enter");
    };
    await say(ada, "I look for the panel");
    await ben.getByText("I look for the panel").waitFor();
    await setLine(page, "Ben", false);
    await says(page, "Ben", /^offline/);
    await say(ben, "No signal down here");
    await say(ben, "Third trolley from the left");
    await ben.getByText("not sent yet").nth(1).waitFor();
    await say(ada, "Ben?");
    await ada.getByText("Ben?").waitFor();
    expect(await ben.getByText("Ben?").count()).toBe(0);
    await photograph(page, "chat");
    await setLine(page, "Ben", true);
    await ben.getByText("Ben?").waitFor();
    await ada.getByText("Third trolley from the left").waitFor();
    await ben.getByText("not sent yet").waitFor({ state: "detached" });
    const texts = (await ada.locator("ol > li").allInnerTexts()).map((text) => text.split("\n")[0]);
    expect(texts.slice(-4)).toEqual([
      "I look for the panel",
      "No signal down here",
      "Third trolley from the left",
      "Ben?",
    ]);
    expect(await fitsAPhone(page)).toBe(true);
  },
);

inChromium(
  "the badge counts what is not read, also offline, and reading it reaches the hub",
  async (browse) => {
    const page = await demos.open(await browse(), "notifications.html");
    const ada = device(page, "Ada");
    const badge = ada.locator(".badge");
    const count = async () => Number(await badge.textContent());
    await says(page, "Ada", /^live$/);
    await expect.poll(count, { timeout: 60_000 }).toBeGreaterThan(1);
    await photograph(page, "notifications");
    await setLine(page, "Ada", false);
    await says(page, "Ada", /^offline/);
    const before = await count();
    await ada
      .getByRole("button", { name: /^Mark as read: / })
      .first()
      .click();
    await expect.poll(count).toBe(before - 1);
    await says(page, "Ada", /1 change waits/);
    await setLine(page, "Ada", true);
    await says(page, "Ada", /^live$/);
    await ada.getByRole("button", { name: "Mark all as read" }).click();
    await says(page, "Ada", /^live$/);
    await expect.poll(() => ada.locator("li.is-read").count()).toBeGreaterThanOrEqual(before);
    expect(await fitsAPhone(page)).toBe(true);
  },
);

inChromium("the chart moves with what a job measures, and catches up", async (browse) => {
  const page = await demos.open(await browse(), "chart.html");
  const ada = device(page, "Ada");
  await says(page, "Ada", /^live$/);
  await ada.locator(".uplot canvas").waitFor();
  const load = ada.locator("dd").last();
  await expect.poll(() => load.textContent(), { timeout: 60_000 }).toMatch(/^\d+\.\d\d/);
  const frame = page.frame({ name: "Ada" })!;
  const rows = () => frame.evaluate(() => window.db.table("sample").all());
  const first = (await rows()).length;
  await expect.poll(async () => (await rows()).length, { timeout: 60_000 }).toBeGreaterThan(first);
  await setLine(page, "Ada", false);
  await says(page, "Ada", /^offline/);
  const still = (await rows()).length;
  await setLine(page, "Ada", true);
  await expect.poll(async () => (await rows()).length, { timeout: 60_000 }).toBeGreaterThan(still);
  await photograph(page, "chart");
  expect(await fitsAPhone(page)).toBe(true);
});

inChromium(
  "of two buyers of the last item one gets it, and the other keeps the cart",
  async (browse) => {
    const page = await demos.open(await browse(), "shop.html");
    const [ada, ben] = [device(page, "Ada"), device(page, "Ben")];
    for (const name of ["Ada", "Ben"]) await says(page, name, /^live$/);
    await setLine(page, "Ben", false);
    await says(page, "Ben", /^offline/);
    for (const frame of [ada, ben]) {
      await frame.getByRole("button", { name: "Add Model of N102UW to the cart" }).click();
      await frame.getByRole("button", { name: "Add Flight socks to the cart" }).click();
      await frame.getByRole("listitem").filter({ hasText: "1 × Flight socks" }).waitFor();
      await frame.getByRole("button", { name: "Order", exact: true }).click();
    }
    await ada.getByText("Confirmed").waitFor();
    await ada.getByText("Sold out").waitFor();
    await ben.getByText("not sent yet").waitFor();
    await setLine(page, "Ben", true);
    await ben.getByText("none is left, somebody was quicker").waitFor();
    await ben.getByRole("listitem").filter({ hasText: "1 × Model of N102UW" }).waitFor();
    await ben.getByText("Sold out").waitFor();
    // The socks were of the same order: they are in stock again, but for Ada's pair.
    await ben.getByText("23 in stock").waitFor();
    await photograph(page, "shop");
    await ben.getByRole("button", { name: "All right" }).click();
    await ben.getByText("The order was refused").waitFor({ state: "detached" });
    expect(await fitsAPhone(page)).toBe(true);
  },
);

inChromium(
  "a browser that knows an earlier run follows the next one, and loses nothing",
  async (browse) => {
    const context = await browse();
    const earlier = await Demos.start();
    let page = await earlier.open(context);
    await says(page, "Ada", /^live$/);
    await setLine(page, "Ada", false);
    await says(page, "Ada", /^offline/);
    const ada = device(page, "Ada");
    await ada.getByLabel("New task").fill("From yesterday");
    await ada.getByRole("button", { name: "Add", exact: true }).click();
    await says(page, "Ada", /1 change waits/);
    await page.close();
    await earlier.stop();

    const later = await Demos.start(new URL(earlier.url).port);
    try {
      page = await later.open(context);
      for (const name of ["Ada", "Ben"]) {
        await says(page, name, /^live$/);
        await device(page, name).getByText("From yesterday").waitFor();
        await device(page, name).getByText("De-ice the wings").waitFor();
      }
      await page.close();
    } finally {
      await later.stop();
    }
  },
);

function isFocused(element: Element): boolean {
  return element === document.activeElement;
}
