/**
 * What a sync seldom comes to: a place that is none any more, other schemas, tables whose log had a
 * gap, and groups that are too large.
 */

import type { TableSchema } from "../core/schema.js";
import { ReuniteError } from "../errors.js";
import type { Page, SchemaAnswer } from "../protocol/messages.js";
import { type Conversation, haveVersions } from "../replica/conversation.js";
import type { Inbox } from "../replica/inbox.js";
import { Repair } from "../replica/repair.js";
import type { Store, Tx } from "../replica/store.js";
import type { Device } from "../replica/writing.js";

/** Compare the tables whose log had a gap. */
export async function heal(
  store: Store,
  hub: Conversation,
  device: Device,
  gaps: Readonly<Record<string, string>>,
): Promise<void> {
  const repair = new Repair(store, hub, () => device.nowMs());
  const found = await repair.gather(Object.keys(gaps).sort());
  if (found === null) {
    hub.tryAgain(new ReuniteError("error", "The hub's tables change while they are compared."));
    return;
  }
  await store.write(async ({ state }) => {
    if (found > 0) state.nextGenerations = { ...state.nextGenerations, ...gaps };
    else state.generations = { ...state.generations, ...gaps };
  });
}

/** The hub's schemas of the tables of a page. Throws `schema-changed` if they have other versions by
 * now than it is written in. */
export async function schemasOf(hub: Conversation, page: Page): Promise<readonly TableSchema[]> {
  const answer = await hub.call<SchemaAnswer>("schema");
  const tables = answer.tables.filter((table) => Object.hasOwn(page.schemas, table.name));
  if (haveVersions(tables, page)) return tables;
  throw new ReuniteError("schema-changed", "The hub's tables changed while they were pulled.");
}

/** What was gathered is nothing any more, if the view is another one; if the hub cannot read the
 * cursor, reading begins at the last checkpoint, or at nothing. */
export async function readAnew(inbox: Inbox, { state }: Tx, code: string): Promise<void> {
  if (code === "schema-changed") return;
  if (code === "bad-request" && state.cursor === state.checkpoint) state.checkpoint = null;
  await inbox.void();
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
