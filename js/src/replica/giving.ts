/**
 * Giving keys: free ones of this replica's blocks for inserts that need another.
 */

import { integerOf, type Key } from "../core/values.js";
import { takeKey } from "./keys.js";
import { type Pending, type Place, placeOf } from "./pending.js";
import type { Tx } from "./store.js";

/** Gives the keys of one transaction's blocks; `taken` are places of pending changes. */
export class KeyGiver {
  readonly #above = new Map<string, number>();

  readonly #tx: Pick<Tx, "state" | "row"> & Partial<Pick<Tx, "largestKey">>;
  readonly #taken: ReadonlyMap<Place, Key>;

  constructor(
    tx: Pick<Tx, "state" | "row"> & Partial<Pick<Tx, "largestKey">>,
    taken: ReadonlyMap<Place, Key>,
  ) {
    this.#tx = tx;
    this.#taken = taken;
  }

  /** A free key for each of these inserts; how many more each table needs. */
  async keysFor(
    pendings: readonly Pending[],
    positions: readonly number[],
  ): Promise<{ moves: Map<number, Key>; missing: Map<string, number> }> {
    const moves = new Map<number, Key>();
    const missing = new Map<string, number>();
    for (const position of positions) {
      const { table } = pendings[position]!;
      const key = missing.has(table) ? null : await this.freeKey(table);
      if (key === null) missing.set(table, (missing.get(table) ?? 0) + 1);
      else moves.set(position, key);
    }
    return { moves, missing };
  }

  /** The next key of the blocks that neither the rows nor the outbox hold. */
  async freeKey(table: string): Promise<Key | null> {
    for (;;) {
      const found = takeKey(this.#tx.state.blocks, table);
      if (found === null) return null;
      this.#tx.state.blocks = found[1];
      const key: Key = [found[0]];
      if (!this.#taken.has(placeOf(table, key)) && (await this.#tx.row(table, key)) === null) {
        return key;
      }
    }
  }

  /** A key above all that are here, for as long as there is none to give. */
  async keyAboveAll(table: string): Promise<Key> {
    let highest = this.#above.get(table);
    if (highest === undefined) {
      highest = Number(integerOf((await this.#tx.largestKey?.(table)) ?? null));
      for (const [place, key] of this.#taken) {
        if (place === placeOf(table, key)) highest = Math.max(highest, Number(integerOf(key[0]!)));
      }
    }
    this.#above.set(table, highest + 1);
    return [highest + 1];
  }
}
