/**
 * Pulls that wait: how a replica is live where streams do not come through.
 */

import type { Link } from "../net/keeper.js";
import type { Page } from "../protocol/messages.js";
import { bringsNothing, pullRequest } from "../replica/conversation.js";
import type { State } from "../replica/state.js";

/** Ask the hub what is new, each time for as long as `waitMs`, until something is or the time is
 * `until`. Throws what broke it; `onSign` is called for each answer. */
export async function polled(
  link: Link,
  state: State,
  waitMs: number,
  until: number,
  signal: AbortSignal,
  onSign: () => void,
): Promise<void> {
  while (!signal.aborted && performance.now() < until) {
    const now = await link.state();
    const request = { ...pullRequest(now), wait_s: Math.max(1, Math.round(waitMs / 1_000)) };
    const began = performance.now();
    let page: Page;
    try {
      page = await link.transport.call<Page>("pull", request, signal, waitMs * 3);
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    }
    onSign();
    // The sync that follows pulls it again, and does with it what is to be done.
    if (!bringsNothing(page, now) || now.replica !== state.replica) return;
    // A hub that answers at once is asked no more often than once a second.
    await delay(Math.max(0, 1_000 - (performance.now() - began)), signal);
  }
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
