/**
 * Pending changes as values: what they make of the hub's rows.
 *
 *     shown row  =  fold(hub's image, pending changes in order of n)
 *
 * Twin of `src/reunite/replica/pending.py`: pure functions over a list of `Pending`; `store.ts`
 * keeps the list.
 */

import type { Op, Outcome } from "../core/change.js";
import { keyText } from "../core/key.js";
import { overlay } from "../core/merge.js";
import type { Table, Tables } from "../core/schema.js";
import { integerOf, isWrittenAlike, type Key, type Row } from "../core/values.js";
import type { KeyBlock } from "../protocol/messages.js";

/** One local change that no checkpoint has covered yet. Whole rows, in the schema's order. `group`
 * is the number of the first change of its transaction. */
export interface Pending {
  readonly uid: string;
  n: number;
  group: number;
  readonly table: string;
  readonly op: Op;
  key: Key;
  oldKey: Key | null;
  old: Row | null;
  row: Row | null;
  readonly stamp: string;
  mark: number;
  covered: number;
  readonly atMs: number;
  outcome: Outcome | null;
}

/** A row's place as text: its table and key. */
export type Place = string & { readonly brand: "Place" };

export function placeOf(table: string, key: Key): Place {
  return `${table}\u0000${keyText(key)}` as Place;
}

export function tableOf(place: Place): string {
  return place.slice(0, place.indexOf("\u0000"));
}

/** The key under which the row stood before a change. */
export function sourceOf(pending: Pending): Key {
  return pending.oldKey ?? pending.key;
}

export function isRejected(pending: Pending): boolean {
  return pending.outcome?.kind === "rejected";
}

/** Every place that these changes touch, with its key. */
export function placesOf(pendings: Iterable<Pending>): Map<Place, Key> {
  const found = new Map<Place, Key>();
  for (const pending of pendings) {
    found.set(placeOf(pending.table, pending.key), pending.key);
    if (pending.oldKey !== null) found.set(placeOf(pending.table, pending.oldKey), pending.oldKey);
  }
  return found;
}

/** Where in the row an update changes something. */
export function changedColumns(pending: Pending): number[] {
  const { old, row } = pending as { old: Row; row: Row };
  return [...row.keys()].filter((index) => !isWrittenAlike(old[index]!, row[index]!));
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

/**
 * What each touched row looks like with the pending changes on top of the hub's images.
 *
 * `collisions` collects the positions of inserts whose generated key another row holds: they must
 * move, and the result counts for nothing. Rows that are `evicted` have no image, and are not shown
 * whatever was changed of them.
 */
export function fold(
  tables: Tables,
  pendings: readonly Pending[],
  images: ReadonlyMap<Place, Row | null>,
  evicted: ReadonlySet<Place>,
  collisions?: number[],
): Map<Place, Row | null> {
  const shown = new Map<Place, Row | null>();
  const hidden = new Set(evicted);
  const now = (place: Place): Row | null => {
    const row = shown.get(place);
    return row === undefined ? (images.get(place) ?? null) : row;
  };
  pendings.forEach((pending, index) => {
    const table = tables.get(pending.table);
    if (table === undefined) return;
    const source = placeOf(pending.table, sourceOf(pending));
    const target = placeOf(pending.table, pending.key);
    const image = now(source);
    if (pending.op === "insert") {
      if (image !== null && table.hasGeneratedKey) {
        collisions?.push(index);
        return;
      }
      shown.set(target, inserted(table, pending, image));
      hidden.delete(target);
    } else if (pending.op === "delete") {
      shown.set(target, null);
    } else {
      const row = hidden.has(source) ? null : updated(table, pending, image);
      if (target !== source) {
        // The hub has another row there; it will refuse the move.
        if (now(target) !== null) return;
        shown.set(source, null);
        if (hidden.has(source)) hidden.add(target);
      }
      shown.set(target, row);
    }
  });
  return shown;
}

function inserted(table: Table, pending: Pending, image: Row | null): Row | null {
  const mine = pending.row!;
  return image === null
    ? mine
    : overlay(table, { columns: table.names, base: null, mine, theirs: image });
}

function updated(table: Table, pending: Pending, image: Row | null): Row | null {
  const { old, row } = pending as { old: Row; row: Row };
  if (image === null) return table.updateWins ? row : null;
  const changed = changedColumns(pending);
  return overlay(table, {
    columns: changed.map((index) => table.names[index]!),
    base: changed.map((index) => old[index]!),
    mine: changed.map((index) => row[index]!),
    theirs: image,
  });
}

/** The numbers of unanswered inserts whose generated key is not of this replica's blocks. An insert
 * that takes the place of a row its own group deletes keeps its key. */
export function misplaced(
  tables: Tables,
  pendings: Iterable<Pending>,
  granted: readonly KeyBlock[],
): Set<number> {
  const found = new Set<number>();
  const vacated = new Set<Place>();
  const moving = new Set<Place>();
  let group = 0;
  for (const pending of pendings) {
    if (pending.group !== group) {
      group = pending.group;
      vacated.clear();
    }
    if (pending.op === "delete" || pending.oldKey !== null) {
      const place = placeOf(pending.table, sourceOf(pending));
      if (!moving.delete(place)) vacated.add(place);
    }
    const table = tables.get(pending.table);
    if (pending.op !== "insert" || !table?.hasGeneratedKey || pending.outcome !== null) continue;
    const place = placeOf(pending.table, pending.key);
    if (vacated.has(place) || isGranted(granted, pending.table, pending.key)) continue;
    found.add(pending.n);
    moving.add(place);
  }
  return found;
}

function isGranted(granted: readonly KeyBlock[], table: string, key: Key): boolean {
  const number = integerOf(key[0]!);
  return granted.some((b) => b.table === table && b.first <= number && number <= b.last);
}
