/**
 * Other keys for inserts that cannot keep theirs.
 */

import { integerOf, type Key } from "../core/values.js";
import { freeKey } from "./giving.js";
import { type Pending, type Place, placeOf, placesOf } from "./pending.js";
import type { Tx } from "./store.js";

/** Keys by the positions of the inserts that get them; of each table, how many more are needed. */
export interface Given {
  readonly moves: Map<number, Key>;
  readonly missing: Map<string, number>;
}

/** A free key of this replica's blocks for each of these inserts. */
export async function keysFor(
  tx: Tx,
  pendings: readonly Pending[],
  positions: readonly number[],
): Promise<Given> {
  const taken = placesOf(pendings);
  const moves = new Map<number, Key>();
  const missing = new Map<string, number>();
  for (const position of positions) {
    const { table } = pendings[position]!;
    const key = missing.has(table) ? null : await freeKey(tx, table, taken);
    if (key === null) missing.set(table, (missing.get(table) ?? 0) + 1);
    else moves.set(position, key);
  }
  return { moves, missing };
}

/** The same, and for those for which there is none, a key above all that are here: until the next
 * push, which brings a block and moves them again. */
export async function keysInTheWay(
  tx: Tx,
  pendings: readonly Pending[],
  positions: readonly number[],
): Promise<Map<number, Key>> {
  const { moves, missing } = await keysFor(tx, pendings, positions);
  const above = new Map<string, number>();
  for (const table of missing.keys())
    above.set(table, await highest(tx, table, placesOf(pendings)));
  for (const position of positions) {
    if (moves.has(position)) continue;
    tx.state.hasMisplaced = true;
    const { table } = pendings[position]!;
    const key = above.get(table)! + 1;
    above.set(table, key);
    moves.set(position, [key]);
  }
  return moves;
}

/** The highest key of a table, in its rows and among what is pending. */
async function highest(tx: Tx, table: string, taken: ReadonlyMap<Place, Key>): Promise<number> {
  let found = Number(integerOf(await tx.largestKey(table)));
  for (const [place, key] of taken) {
    if (place === placeOf(table, key)) found = Math.max(found, Number(integerOf(key[0]!)));
  }
  return found;
}
