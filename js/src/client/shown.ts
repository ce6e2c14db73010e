/**
 * What people look at besides rows: pending and parked changes, and conflicts, in the page's forms.
 */

import type { Table, Tables } from "../core/schema.js";
import type { Key, Value } from "../core/values.js";
import { changedColumns, type Pending } from "../replica/pending.js";
import type { ConflictRecord, ParkedRecord } from "../replica/records.js";
import type { Forms, RowObject } from "./forms.js";

/** A local change that no checkpoint of the hub has covered yet. */
export interface PendingChange {
  /** The change's own id, here, among the parked ones and in conflicts. */
  readonly uid: string;
  readonly table: string;
  readonly op: "insert" | "update" | "delete";
  readonly key: unknown;
  /** What an insert or update set; null for a delete. */
  readonly values: RowObject | null;
  readonly at: Date;
  /** Whether the hub has answered; the page that shows it is still to come. */
  readonly isAnswered: boolean;
}

/** A change that the hub refused. */
export interface ParkedChange {
  readonly id: number;
  readonly uid: string;
  readonly table: string;
  readonly op: "insert" | "update" | "delete";
  readonly key: unknown;
  readonly values: RowObject | null;
  /** Stable, such as `unique` or `not-allowed`; `reason` is for people. */
  readonly code: string;
  readonly reason: string;
  /** The columns that are to blame. */
  readonly columns: readonly string[];
  readonly at: Date;
}

/** Two values for one column, set without knowledge of each other; `column` is null when whole rows
 * met, and the values are then objects, or null for no row. */
export interface Conflict {
  readonly id: number;
  /** Of the change that met something. */
  readonly uid: string;
  readonly table: string;
  readonly key: unknown;
  readonly column: string | null;
  readonly base: unknown;
  readonly hub: unknown;
  readonly replica: unknown;
  readonly result: unknown;
  readonly policy: string;
  /** Whether a person must decide. */
  readonly isOpen: boolean;
  readonly at: Date;
}

export class Shown {
  readonly #forms: Forms;

  constructor(forms: Forms) {
    this.#forms = forms;
  }

  pending(tables: Tables, pending: Pending): PendingChange {
    const table = tables.get(pending.table);
    let values: RowObject | null = null;
    if (table !== undefined && pending.row !== null) {
      values = { ...this.#forms.object(table, pending.row) };
      if (pending.op === "update") {
        const changed = new Set(changedColumns(pending).map((index) => table.names[index]));
        values = Object.fromEntries(Object.entries(values).filter(([name]) => changed.has(name)));
      }
    }
    return {
      uid: pending.uid,
      table: pending.table,
      op: pending.op,
      key: this.#key(table, pending.key),
      values,
      at: new Date(pending.atMs),
      isAnswered: pending.outcome !== null,
    };
  }

  parked(tables: Tables, record: ParkedRecord): ParkedChange {
    const table = tables.get(record.table);
    const { id, uid, op, code, reason, columns } = record;
    return {
      id,
      uid,
      table: record.table,
      op,
      key: this.#key(table, record.key),
      values: this.#forms.named(table, record.row),
      code,
      reason,
      columns,
      at: new Date(record.atMs),
    };
  }

  conflict(tables: Tables, record: ConflictRecord): Conflict {
    const table = tables.get(record.table);
    const { id, uid, column, policy, isOpen } = record;
    const read = (value: Value): unknown => {
      if (table === undefined || value === null) return value;
      if (column === null) return this.#forms.named(table, value as Record<string, Value>);
      return table.position.has(column) ? this.#forms.read(table.column(column), value) : value;
    };
    return {
      id,
      uid,
      table: record.table,
      key: this.#key(table, record.key),
      column,
      base: read(record.base),
      hub: read(record.hub),
      replica: read(record.replica),
      result: read(record.result),
      policy,
      isOpen,
      at: new Date(record.atMs),
    };
  }

  #key(table: Table | undefined, key: Key): unknown {
    return table === undefined || table.key.length !== key.length
      ? key
      : this.#forms.key(table, key);
  }
}
