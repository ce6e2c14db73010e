/**
 * Giving keys out of the blocks that the hub leased to this replica.
 */

import type { Key } from "../core/values.js";
import { takeKey } from "./keys.js";
import { type Place, placeOf } from "./pending.js";
import type { Tx } from "./store.js";

/** The next key of the blocks that neither the rows nor the outbox (`taken`) hold; null if they are
 * used up. */
export async function freeKey(
  tx: Pick<Tx, "state" | "row">,
  table: string,
  taken?: ReadonlyMap<Place, Key>,
): Promise<Key | null> {
  for (;;) {
    const found = takeKey(tx.state.blocks, table);
    if (found === null) return null;
    tx.state.blocks = found[1];
    const key: Key = [found[0]];
    if (!taken?.has(placeOf(table, key)) && (await tx.row(table, key)) === null) return key;
  }
}
