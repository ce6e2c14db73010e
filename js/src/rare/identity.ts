/**
 * Another identity: what a replica does when the hub no longer knows it as who it is.
 */

import type { TableSchema } from "../core/schema.js";
import { LOST_LOG } from "../errors.js";
import type { Former } from "../protocol/messages.js";
import type { Conversation } from "../replica/conversation.js";
import type { Inbox } from "../replica/inbox.js";
import { isRejected, type Pending } from "../replica/pending.js";
import { adopt } from "../replica/state.js";
import type { Store, Tx } from "../replica/store.js";

const FORMERS_MAX = 20;

/** What runs in one transaction of the store, and is told of by the caller. */
type Change = (work: (inbox: Inbox, tx: Tx) => Promise<boolean>) => Promise<boolean>;

/** Register anew, because of a problem of this code; the whole outbox is sent again under its old
 * ids, unless it is another user's by now. Whether the hub's tables have other shapes than this
 * replica's. */
export async function takeNewIdentity(
  store: Store,
  hub: Conversation,
  code: string,
  change: Change,
): Promise<boolean> {
  const answer = await hub.register(await store.read(async (tx) => tx.state));
  return change(async (inbox, tx) => {
    const { state } = tx;
    const isOthers = state.whose && answer.whose && state.whose !== answer.whose;
    const pendings = isOthers ? await setAside(inbox, tx) : await tx.outbox();
    if (state.epoch !== answer.epoch || LOST_LOG.includes(code)) {
      // Marks are change ids of a log that is gone; from here on this one counts.
      state.mark = answer.mark;
      state.formers = [];
      state.cursor = null;
      state.checkpoint = null;
      for (const pending of pendings) pending.mark = answer.mark;
    } else {
      const former: Former = { replica: state.replica, n: state.knownN };
      state.formers = [former, ...state.formers].slice(0, FORMERS_MAX);
    }
    const newOf = new Map(pendings.map((pending, index) => [pending.n, index + 1]));
    for (const pending of pendings) {
      pending.group = newOf.get(pending.group) ?? newOf.get(pending.n)!;
      pending.n = newOf.get(pending.n)!;
      pending.outcome = null;
      pending.covered = 0;
    }
    tx.clear("outbox");
    tx.putChanges(pendings);
    state.nextN = pendings.length + 1;
    adopt(state, answer);
    state.knownN = 0;
    state.knownId = "";
    state.coveredN = 0;
    state.resendN = pendings.length;
    state.hasMisplaced = true;
    const differs = shapes(state.schemas) !== shapes(answer.tables);
    if (differs) {
      state.nextSchemas = answer.tables;
      state.nextRevision = "";
    }
    return differs;
  });
}

/** Park what another user has left here to be sent: nobody else is to be its author, and only who
 * made it knows whether it still holds. What the hub has answered is done. What is left to send. */
async function setAside(inbox: Inbox, tx: Tx): Promise<Pending[]> {
  const parked = new Set<number>();
  for (const pending of await tx.outbox()) {
    if (pending.outcome !== null) await inbox.noteConflicts(pending);
    if (pending.outcome === null || isRejected(pending)) parked.add(pending.n);
  }
  const reason = "It was written here before another user came. Retry it to send it as this one.";
  await inbox.giveUp(parked, "other-user", reason);
  return [];
}

/** What of schemas decides whether rows can stay. */
function shapes(schemas: readonly TableSchema[]): string {
  return JSON.stringify(
    schemas.map(({ name, version, columns, key, foreign_keys }) => [
      name,
      version ?? 1,
      columns.map((c) => [c.name, c.type, c.nullable ?? true, c.default ?? null]),
      key,
      foreign_keys ?? [],
    ]),
  );
}
