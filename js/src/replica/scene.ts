/**
 * A scene: what is pending, and the hub's rows below it, while one transaction changes both.
 *
 * Twin of `src/reunite/replica/scene.py`.
 */

import type { Tables } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";
import { dependencies, type Pending, type Place, placesOf, tableOf } from "./pending.js";

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

/** What the hub takes whole or not at all. */
export function groupsOf(pendings: readonly Pending[]): Pending[][] {
  const found: Pending[][] = [];
  for (const pending of pendings) {
    const last = found.at(-1);
    if (last?.[0]?.group === pending.group) last.push(pending);
    else found.push([pending]);
  }
  return found;
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
