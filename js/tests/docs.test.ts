/**
 * The examples of `docs/howto/in-the-browser.md` run, against a real hub.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect } from "../src/index.js";
import { TASKS, World } from "./stories/world.js";

const ROOT = join(import.meta.dirname, "../..");
const PAGE = readFileSync(join(ROOT, "docs/howto/in-the-browser.md"), "utf8");

test("the examples of the page run, one after the other", async () => {
  const world = await World.with(TASKS);
  const said: unknown[][] = [];
  try {
    const blocks = [...PAGE.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!);
    // The page goes on after it closed its database, with another one.
    const code = blocks.join("\n").replace(/^import .*$/gm, "");
    const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
    const example = new AsyncFunction("connect", "url", "token", "console", code);
    await example(connect, world.hub.url, world.hub.token, {
      log: (...words: unknown[]) => said.push(words),
    });
  } finally {
    await world.close();
  }
  expect(said).toContainEqual(["3 of 3 rows"]);
  expect(said.some(([phase]) => phase === "live")).toBe(true);
});

test("every code that the client has of its own is explained on the page", () => {
  const source = readFileSync(join(ROOT, "js/src/errors.ts"), "utf8");
  const codes = [...source.matchAll(/^ \* {5}([a-z-]+) {2,}/gm)].map(([, code]) => code!);
  expect(codes.length).toBeGreaterThan(10);
  const elsewhere = ["bad-request", "unknown-table"];
  for (const code of codes.filter((name) => !elsewhere.includes(name))) {
    expect(PAGE, code).toContain(`\`${code}\``);
  }
});
