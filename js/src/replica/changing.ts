/**
 * Changing schemas: what gathered is written in other versions of the tables than the store's.
 */

import { type Table, type Tables, tablesOf } from "../core/schema.js";
import type { Applied } from "./inbox.js";
import { isRejected, type Pending } from "./pending.js";
import { parkValues } from "./records.js";
import { madeAnew, refuseMisfits, reshapingsOf } from "./reshaping.js";
import { forgetTables, type Scene } from "./scene.js";
import type { Tx } from "./store.js";

/** What an inbox lends: `originals` are changes as they were before they were reshaped, `refuse`
 * parks changes and what hangs on them. */
export interface Changing {
  readonly tx: Tx;
  readonly scene: Scene;
  readonly before: Tables;
  readonly originals: Map<Pending, { pending: Pending; table: Table }>;
  readonly changed: Set<Pending>;
  readonly done: Applied;
  readonly nowMs: number;
  refuse(pendings: Pending[]): Promise<void>;
}

/** Make the tables anew, and reshape what is pending in them; others keep their rows. All tables
 * that there were before or are now. */
export async function changeSchemas(inbox: Changing, answered: number): Promise<Tables> {
  const { tx, scene, before, done } = inbox;
  const { state } = tx;
  const schemas = state.nextSchemas ?? [];
  const after = tablesOf(schemas);
  const reshapings = reshapingsOf(before, after, new Date(inbox.nowMs));
  const waiting = scene.pendings.filter((pending) => pending.n > answered);
  await inbox.refuse(refuseMisfits(reshapings, waiting));
  for (const pending of scene.pendings) {
    const reshaping = reshapings.get(pending.table);
    if (reshaping === undefined) continue;
    if (pending.n > answered) {
      const [was, wanted] = reshaping.lostValues(pending);
      const record = await parkValues(tx, pending, was, wanted);
      if (record !== null) done.parked.push(record);
    } else if (isRejected(pending)) {
      const table = before.get(pending.table)!;
      inbox.originals.set(pending, { pending: { ...pending }, table });
    }
    reshaping.apply(pending);
    inbox.changed.add(pending);
  }
  const anew = madeAnew(before, after);
  for (const name of anew) {
    tx.clearTable(name);
    done.noteAll(name);
  }
  forgetTables(scene, anew);
  state.schemas = schemas;
  state.nextSchemas = null;
  state.revision = state.nextRevision;
  state.nextRevision = "";
  tx.forgetTables();
  return new Map([...before, ...after]);
}
