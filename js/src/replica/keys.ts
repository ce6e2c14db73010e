/**
 * Generated keys: blocks that the hub leased to this replica, and what is left of them.
 *
 * Twin of `src/reunite/replica/keys.py`. A block's `first` is its high-water mark: a key once given
 * is never given again.
 */

import type { Table } from "../core/schema.js";
import { integerOf, type Key } from "../core/values.js";
import type { KeyBlock } from "../protocol/messages.js";

const KEY_BLOCK_SIZE = 1_000;

/** A new block is asked for when fewer keys than this are left. */
export function keysLeftMin(table: Table): number {
  return Math.floor(Math.min(KEY_BLOCK_SIZE, Math.floor(table.generatedKeyMax / 1_024)) / 5);
}

/** How many keys are left to give. */
export function keysLeft(blocks: readonly KeyBlock[], table: string): number {
  const own = blocks.filter((block) => block.table === table);
  return own.reduce((sum, block) => sum + Math.max(0, block.last - block.first + 1), 0);
}

/** The next key of a table and the blocks without it; null when they are used up. */
export function takeKey(blocks: readonly KeyBlock[], table: string): [number, KeyBlock[]] | null {
  const place = blocks.findIndex((block) => block.table === table && block.first <= block.last);
  if (place === -1) return null;
  const block = blocks[place]!;
  return [block.first, blocks.with(place, { ...block, first: block.first + 1 })];
}

/** The blocks after an insert used `key`, null if it is not this replica's to give. */
export function noteKey(blocks: readonly KeyBlock[], table: string, key: Key): KeyBlock[] | null {
  const number = Number(integerOf(key[0]!));
  const place = blocks.findIndex((b) => b.table === table && b.first <= number && number <= b.last);
  return place === -1 ? null : blocks.with(place, { ...blocks[place]!, first: number + 1 });
}

/** With fresh blocks; used-up ones are forgotten. */
export function withBlocks(blocks: readonly KeyBlock[], fresh: readonly KeyBlock[]): KeyBlock[] {
  return [...blocks.filter((block) => block.first <= block.last), ...fresh];
}
