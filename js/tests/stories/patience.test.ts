/**
 * When a client asks again: by chance, later each time, and at once when somebody looks.
 */

import { afterEach, expect, test } from "vitest";
import { ReuniteError } from "../../src/errors.js";
import { Keeper, TIMES } from "../../src/net/keeper.js";
import { TASKS, until, World } from "./world.js";

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
  Reflect.deleteProperty(globalThis, "document");
});

/** The pauses after `count` failures in a row. */
async function pausesOf(count: number, chance: number, retryAfterS = 0): Promise<number[]> {
  const pauses: number[] = [];
  const error = new ReuniteError("hub-unreachable", "Not now.", { retryAfterS });
  const link = {
    run: () => Promise.reject(error),
    tell: (phase: string, _: unknown, pauseMs: number | null) => {
      if (phase === "offline") pauses.push(pauseMs!);
      if (pauses.length === count) keeper.stop();
    },
  };
  const times = { ...TIMES, pauseMs: 1, pauseMsMax: 8 };
  const keeper = new Keeper(link as never, times, 0, () => chance);
  await keeper.run();
  return pauses;
}

test("pauses are drawn between nothing and a time that doubles up to the longest", async () => {
  expect(await pausesOf(5, 1)).toEqual([2, 4, 8, 8, 8]);
  expect(await pausesOf(3, 0.5)).toEqual([1, 2, 4]);
  expect(await pausesOf(3, 0)).toEqual([0, 0, 0]);
});

test("a hub that says how long to wait is waited for so long at least", async () => {
  expect(await pausesOf(2, 1, 0.01)).toEqual([12, 14]);
});

test("a page that is looked at again does not wait any longer, and a hidden one does", async () => {
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  Object.assign(globalThis, { document });
  const world = await World.with(TASKS);
  worlds.push(world);
  const times = { pauseMs: 3_600_000, pauseMsMax: 3_600_000 };
  const { db, wire } = await world.device({ live: true, times });
  await until(() => db.status.phase === "live", "it is live");
  wire.isCut = true;
  await world.hub.stop();
  await until(() => db.status.phase === "offline", "it is offline");
  await world.hub.ask({ do: "start" });
  wire.isCut = false;
  const asked = wire.asked.length;
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  await db.table("task").update("t1", { title: "Meanwhile" });
  expect(wire.asked.length).toBe(asked);
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  await until(() => db.status.phase === "live" && db.status.pending === 0, "all is sent");
});
