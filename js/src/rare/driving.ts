/**
 * What a sync seldom comes to: tables whose log had a gap, and groups that are too large.
 */

import { ReuniteError } from "../errors.js";
import type { Conversation } from "../replica/conversation.js";
import type { Inbox } from "../replica/inbox.js";
import type { Gather } from "../replica/repair.js";
import type { Store, Tx } from "../replica/store.js";

/** Compare the tables whose log had a gap. */
export async function heal(
  store: Store,
  hub: Conversation,
  gather: Gather,
  gaps: Readonly<Record<string, string>>,
): Promise<void> {
  const found = await gather(Object.keys(gaps).sort());
  if (found === null) {
    hub.tryAgain(new ReuniteError("error", "The hub's tables change while they are compared."));
    return;
  }
  await store.write(async ({ state }) => {
    if (found > 0) state.nextGenerations = { ...state.nextGenerations, ...gaps };
    else state.generations = { ...state.generations, ...gaps };
  });
}

/** Park the first of these groups that has no outcome: the hub does not take it. */
export async function giveUpFirst(
  inbox: Inbox,
  tx: Tx,
  readMax: number,
  { code, message }: ReuniteError,
): Promise<void> {
  const rest = await tx.outboxFrom(tx.state.knownN + 1, readMax);
  const group = rest.find((pending) => pending.outcome === null)?.group;
  const numbers = rest.filter((pending) => pending.group === group).map((p) => p.n);
  await inbox.giveUp(new Set(numbers), code, message);
}
