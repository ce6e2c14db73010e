/**
 * What a replica keeps of the hub's answers for people to see: conflicts, and parked changes.
 *
 * Twin of `src/reunite/replica/records.py` and `leaving.py`.
 * The rule: of rows that leave the replica, what the user wrote stays, for a person to decide; the
 * hub's values go. Of rows that were erased nothing stays.
 */

import type { Outcome } from "../core/change.js";
import type { Table } from "../core/schema.js";
import { isWrittenAlike, type Key, type Row, type Value } from "../core/values.js";
import type { Leaving } from "./leaving.js";
import { changedColumns, type Pending, type Place, placeOf } from "./pending.js";
import type { Tx } from "./store.js";

type Named = Readonly<Record<string, Value>>;

/** Two values that met. Values are in wire form; `column` is null when whole rows met. */
export interface ConflictRecord {
  readonly id: number;
  readonly uid: string;
  readonly table: string;
  readonly key: Key;
  readonly column: string | null;
  readonly base: Value;
  readonly hub: Value;
  readonly replica: Value;
  readonly result: Value;
  readonly policy: string;
  readonly isOpen: boolean;
  readonly atMs: number;
}

/** A change that the hub refused, with its reason. Rows have their columns' names. */
export interface ParkedRecord {
  readonly id: number;
  readonly uid: string;
  readonly table: string;
  readonly op: Pending["op"];
  readonly key: Key;
  readonly oldKey: Key | null;
  readonly old: Named | null;
  readonly row: Named | null;
  readonly atMs: number;
  readonly code: string;
  readonly reason: string;
  readonly columns: readonly string[];
}

/** Keep the conflicts of an outcome. */
export async function noteConflicts(
  tx: Tx,
  pending: Pending,
  outcome: Outcome,
  atMs: number,
): Promise<ConflictRecord[]> {
  const found: ConflictRecord[] = [];
  for (const conflict of outcome.conflicts ?? []) {
    const record = {
      uid: pending.uid,
      table: pending.table,
      key: outcome.key ?? pending.key,
      column: conflict.column,
      base: conflict.base,
      hub: conflict.hub,
      replica: conflict.replica,
      result: conflict.result,
      policy: conflict.policy,
      isOpen: conflict.is_open ?? false,
      atMs,
    };
    found.push({ ...record, id: await tx.putRecord("conflicts", record) });
  }
  return found;
}

/** Keep a rejected change. Of a row that was evicted, only what the change wanted stays. */
export async function park(
  tx: Tx,
  pending: Pending,
  table: Table,
  isEvicted: boolean,
): Promise<ParkedRecord> {
  let [old, row] = [named(table, pending.old), named(table, pending.row)];
  if (isEvicted && pending.op !== "insert") {
    row = row && old ? wantedOf(table, pending) : null;
    old = null;
  }
  return keep(tx, pending, pending.op, old, row, pending.outcome!);
}

/** Keep the values that a change set in columns that are gone; the rest of it goes on. */
export async function parkValues(
  tx: Tx,
  pending: Pending,
  was: Named,
  wanted: Named,
): Promise<ParkedRecord | null> {
  if (Object.values(wanted).every((value) => value === null)) return null;
  const columns = Object.keys(wanted);
  const reason = `The hub's table ${pending.table} has no ${columns.join(", ")} any more; the rest of the change goes on.`;
  const outcome: Outcome = { kind: "rejected", code: "schema-changed", reason, columns };
  return keep(tx, pending, "update", was, wanted, outcome);
}

async function keep(
  tx: Tx,
  pending: Pending,
  op: Pending["op"],
  old: Named | null,
  row: Named | null,
  outcome: Outcome,
): Promise<ParkedRecord> {
  const record = {
    uid: pending.uid,
    table: pending.table,
    op,
    key: pending.key,
    oldKey: pending.oldKey,
    old,
    row,
    atMs: pending.atMs,
    code: outcome.code ?? "",
    reason: outcome.reason ?? "",
    columns: outcome.columns ?? [],
  };
  return { ...record, id: await tx.putRecord("parked", record) };
}

function named(table: Table, row: Row | null): Named | null {
  return row && Object.fromEntries(table.names.map((name, index) => [name, row[index]!]));
}

function wantedOf(table: Table, pending: Pending): Named {
  const changed = changedColumns(pending);
  return Object.fromEntries(changed.map((index) => [table.names[index]!, pending.row![index]!]));
}

/** Take the hub's values of rows that leave out of the records. `hidden`: places of those whose
 * pending changes the page sees no more. */
export async function forgetLeft(
  tx: Tx,
  leaving: Leaving,
  hidden: ReadonlySet<Place>,
  has: (place: Place) => Promise<boolean>,
): Promise<void> {
  const isGone = async (table: string, key: Key): Promise<boolean> => {
    const place = placeOf(table, key);
    if (leaving.evicted.has(place) || hidden.has(place)) return true;
    return leaving.wasReset(table) && !(await has(place));
  };
  for (const record of await tx.conflicts()) {
    if (!(await isGone(record.table, record.key))) continue;
    const isMine = isWrittenAlike(record.result, record.replica);
    const result = isMine ? record.result : null;
    await tx.putRecord("conflicts", { ...record, base: null, hub: null, isOpen: false, result });
  }
  for (const record of await tx.parked()) {
    const keys = record.oldKey === null ? [record.key] : [record.key, record.oldKey];
    for (const key of record.old === null ? [] : keys) {
      if (!(await isGone(record.table, key))) continue;
      await tx.putRecord("parked", {
        ...record,
        old: null,
        row: changed(record.old!, record.row),
      });
      break;
    }
  }
}

function changed(old: Named, row: Named | null): Named | null {
  if (row === null) return null;
  const members = Object.entries(row);
  return Object.fromEntries(members.filter(([n, value]) => !isWrittenAlike(old[n] ?? null, value)));
}

/** Take the values out of all records about erased rows; that there were any stays. */
export async function forgetErased(tx: Tx, erased: ReadonlySet<Place>): Promise<void> {
  for (const record of await tx.conflicts()) {
    if (!erased.has(placeOf(record.table, record.key))) continue;
    const nothing = { base: null, hub: null, replica: null, result: null, isOpen: false };
    await tx.putRecord("conflicts", { ...record, ...nothing });
  }
  for (const record of await tx.parked()) {
    const keys = record.oldKey === null ? [record.key] : [record.key, record.oldKey];
    if (!keys.some((key) => erased.has(placeOf(record.table, key)))) continue;
    await tx.putRecord("parked", {
      ...record,
      old: null,
      row: null,
      reason: "The row was erased.",
    });
  }
}
