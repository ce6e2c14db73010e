/**
 * A scene: what is pending, and the hub's rows below it, while one transaction changes both.
 *
 * Twin of `src/reunite/replica/scene.py`.
 */

import { pointedParents } from "../core/pointers.js";
import type { Tables } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";
import {
  changedColumns,
  groupsOf,
  type Pending,
  type Place,
  placeOf,
  placesOf,
  tableOf,
} from "./pending.js";

export interface Scene {
  pendings: Pending[];
  /** The hub's rows of touched keys. */
  readonly images: Map<Place, Row | null>;
  /** Those of them that the hub no longer sends. */
  readonly evicted: Set<Place>;
  /** Places whose row in the store is what is shown, not the hub's. */
  readonly touched: Map<Place, Key>;
  /** Rows of which nothing is to stay. */
  readonly erased: Map<Place, readonly [string, Key]>;
  /** The numbers of inserts that need another key. */
  toMove: Set<number>;
}

/** These tables are made anew: nothing is known of their rows. */
export function forgetTables(scene: Scene, tables: ReadonlySet<string>): void {
  for (const place of [...scene.images.keys(), ...scene.touched.keys()]) {
    if (!tables.has(tableOf(place))) continue;
    scene.images.delete(place);
    scene.touched.delete(place);
  }
  for (const [place, key] of placesOf(scene.pendings.filter((p) => tables.has(p.table)))) {
    scene.touched.set(place, key);
    scene.images.set(place, null);
  }
}

/** Numbers without gaps, after changes of these numbers went. */
export function closeGaps(scene: Scene, gone: ReadonlySet<number>): void {
  const sorted = [...gone].sort((a, b) => a - b);
  const shifted = (n: number) => n - sorted.filter((other) => other < n).length;
  for (const pending of scene.pendings) {
    pending.n = shifted(pending.n);
    pending.group = gone.has(pending.group) ? pending.n : shifted(pending.group);
  }
  scene.toMove = new Set([...scene.toMove].filter((n) => !gone.has(n)).map(shifted));
}

/** Refuse inserts for which the hub has no key left, with the rest of their transactions. */
export function refuseKeyless(
  pendings: readonly Pending[],
  keyless: readonly Pending[],
): Pending[] {
  const groups = new Set(keyless.map((pending) => pending.group));
  const reason = `The hub has no keys left for new rows of '${keyless[0]?.table}'. Make its key column wider there, then retry.`;
  const refused = pendings.filter((p) => p.outcome === null && groups.has(p.group));
  for (const p of refused) p.outcome = { kind: "rejected", code: "no-keys-left", reason };
  return refused;
}

/** Changes without an answer that hang on a rejected one, as the hub would find: sent or not, it
 * has rejected them or will. And those of tables that the hub no longer has. They get the outcome
 * that says so. */
export function dependents(
  tables: Tables,
  pendings: readonly Pending[],
  rejected: readonly Pending[],
): Pending[] {
  const tainted = new Map<Place, number>();
  const taint = (pending: Pending) => {
    for (const place of placesOf([pending]).keys()) {
      tainted.set(place, Math.max(pending.n, tainted.get(place) ?? 0));
    }
  };
  rejected.forEach(taint);
  const found: Pending[] = [];
  for (const group of groupsOf(pendings.filter((pending) => pending.outcome === null))) {
    let [code, reason] = ["unknown-table", "The hub no longer has this table for you."];
    if (group.every((pending) => tables.has(pending.table))) {
      const hangs = group.some((pending) =>
        [...dependencies(tables, pending)].some((p) => (tainted.get(p) ?? 0) > pending.covered),
      );
      if (!hangs) continue;
      code = "depends-on-rejected";
      reason = "It touches or points to a row of a change that was rejected.";
    }
    for (const pending of group) {
      pending.outcome = { kind: "rejected", code, reason };
      taint(pending);
    }
    found.push(...group);
  }
  return found;
}

/** The rows that a change touches or that the values it sets point to. */
function dependencies(tables: Tables, pending: Pending): Set<Place> {
  const found = new Set(placesOf([pending]).keys());
  const table = tables.get(pending.table);
  const { row } = pending;
  if (table !== undefined && row !== null) {
    const indexes = pending.op === "update" ? changedColumns(pending) : [...row.keys()];
    const names = indexes.map((index) => table.names[index]!);
    const values = indexes.map((index) => row[index]!);
    for (const [parent, key] of pointedParents(tables, table.name, names, values)) {
      found.add(placeOf(parent, key));
    }
  }
  return found;
}
