/**
 * Changes, and the hub's word on each.
 *
 * Twin of `src/reunite/core/change.py`, in the names of the wire.
 * The rule: `set` and `was` stand in the order of `columns`; an insert sets every column it knows,
 * a delete knows what every column was.
 */

import type { Key, Value } from "./values.js";

export type Op = "insert" | "update" | "delete";

/** One row inserted, updated or deleted on a replica. `key` is the row's key after the change,
 * `old_key` the one before, where the key moved. */
export interface Change {
  readonly id: string;
  readonly n: number;
  readonly table: string;
  readonly op: Op;
  readonly key: Key;
  readonly old_key?: Key | null;
  readonly columns?: readonly string[];
  readonly set?: readonly Value[];
  readonly was?: readonly Value[];
  readonly stamp: string;
  readonly mark?: number;
  readonly covered?: number;
}

/** Two values for one column set without knowledge of each other; `column` is null when the rows
 * themselves met. */
export interface Conflict {
  readonly column: string | null;
  readonly base: Value;
  readonly hub: Value;
  readonly replica: Value;
  readonly result: Value;
  readonly policy: string;
  readonly is_open?: boolean;
}

/** The hub's answer for a pushed change. `code` is stable; `reason` is for people. */
export interface Outcome {
  readonly kind: "applied" | "merged" | "duplicate" | "rejected";
  readonly key?: Key | null;
  readonly code?: string | null;
  readonly reason?: string | null;
  readonly columns?: readonly string[];
  readonly conflicts?: readonly Conflict[];
}
