/**
 * Moving keys: what becomes of pending changes when the row that one of them made gets another key.
 *
 * Twin of `_Walk` in `src/reunite/replica/pending.py`.
 * The rule: the hub's rows never follow a key that this replica moves; only pending changes after
 * the moved one do, and only those that mean that very row.
 */

import { keyText } from "../core/key.js";
import { pointerPlaces } from "../core/pointers.js";
import type { Table, Tables } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";
import { type Pending, placeOf, sourceOf } from "./pending.js";

/** Give the rows that the changes at these positions made (or mean) other keys. Changes the list's
 * members; the positions that changed. One pass, however many rows move. */
export function moveKeys(
  tables: Tables,
  pendings: readonly Pending[],
  moves: ReadonlyMap<number, Key>,
): Set<number> {
  const walk = new Walk(tables);
  for (const [index, pending] of moves.size > 0 ? pendings.entries() : []) {
    walk.take(index, pending, moves.get(index));
  }
  return walk.touched;
}

/** Where moved rows are, and who points to them, while the changes go by. */
class Walk {
  readonly touched = new Set<number>();
  readonly #moved = new Map<string, Key>(); // the place that a row had → its key now
  readonly #pointers = new Map<string, readonly [Row, Row]>();

  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  take(index: number, pending: Pending, to: Key | undefined): void {
    const table = this.#tables.get(pending.table);
    if (table === undefined) return;
    if (to !== undefined && keyText(to) !== keyText(pending.key)) {
      this.touched.add(index);
      this.#begin(table, pending, to);
    } else if (this.#moved.size > 0 && pending.op !== "insert") {
      this.#follow(table, index, pending);
    }
    if (this.#moved.size > 0 || this.#pointers.size > 0) this.#point(table, index, pending);
  }

  #begin(table: Table, pending: Pending, to: Key): void {
    const place = placeOf(pending.table, pending.key);
    this.#moved.set(place, to);
    if (pending.op !== "insert" && pending.oldKey === null) {
      pending.old = withKey(table, pending.old, to);
    }
    if (pending.op === "delete") this.#moved.delete(place);
    pending.key = to;
    pending.row = withKey(table, pending.row, to);
  }

  #follow(table: Table, index: number, pending: Pending): void {
    const source = placeOf(pending.table, sourceOf(pending));
    const to = this.#moved.get(source);
    if (to === undefined) return;
    this.touched.add(index);
    pending.old = withKey(table, pending.old, to);
    if (pending.oldKey !== null) {
      pending.oldKey = to;
      this.#moved.delete(source);
      return;
    }
    if (pending.op === "delete") this.#moved.delete(source);
    pending.key = to;
    pending.row = withKey(table, pending.row, to);
  }

  /** Rewrite what this change says of foreign keys that mean moved rows. */
  #point(table: Table, index: number, pending: Pending): void {
    for (const foreignKey of table.foreignKeys) {
      const places = pointerPlaces(this.#tables, foreignKey, table.names);
      if (places.length === 0) continue;
      const { old, row } = pending;
      const columns = keyText(foreignKey.columns as Key);
      const pointer = `${placeOf(pending.table, sourceOf(pending))}${columns}`;
      let carried = this.#pointers.get(pointer);
      this.#pointers.delete(pointer);
      if (carried && old !== null && isSame(valuesAt(old, places), carried[0])) {
        pending.old = withAll(old, places, carried[1]);
        this.touched.add(index);
      }
      const values = row === null ? [null] : valuesAt(row, places);
      if (row === null || values.includes(null)) continue;
      // Set by this change, or carried along from one that set it to the moved row.
      const sets =
        pending.op === "insert" || (old !== null && !isSame(valuesAt(old, places), values));
      const to = sets ? this.#moved.get(placeOf(foreignKey.parent, values)) : undefined;
      if (to !== undefined) carried = [values, to];
      else if (sets || carried === undefined || !isSame(carried[0], values)) continue;
      this.touched.add(index);
      pending.row = withAll(row, places, carried[1]);
      if (table.keyPositions.some((position) => places.includes(position))) {
        // The pointer is a part of the row's own key, so the row moves with its parent.
        this.#begin(table, pending, table.keyOf(pending.row));
      }
      this.#pointers.set(`${placeOf(pending.table, pending.key)}${columns}`, carried);
    }
  }
}

function isSame(a: Row, b: Row): boolean {
  return keyText(a) === keyText(b);
}

function valuesAt(row: Row, places: readonly number[]): Row {
  return places.map((place) => row[place]!);
}

function withAll(row: Row, places: readonly number[], values: Row): Row {
  const changed = [...row];
  places.forEach((place, index) => {
    changed[place] = values[index]!;
  });
  return changed;
}

function withKey(table: Table, row: Row | null, key: Key): Row | null {
  return row === null ? null : withAll(row, table.keyPositions, key);
}
