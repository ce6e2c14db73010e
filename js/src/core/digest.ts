/**
 * Digests: short sums by which two sides find out where their rows differ.
 *
 *     row hash     BLAKE2b, 16 bytes, of the JSON array of the row's canonical texts
 *     key hash     the same of the key's values alone
 *     sum          of row hashes modulo 2^128: the order of the rows is no matter
 *     range        the rows whose key's hash, in hexadecimal, begins with a prefix ("" for all)
 *
 * Twin of `src/reunite/core/digest.py`; `conformance/digest/` is the definition.
 */

import { blake2b } from "./blake2b.js";
import type { Table } from "./schema.js";
import { canonicalText, hexOf, type Key, type Row } from "./values.js";

const MODULUS = 2n ** 128n;
const HEX = [..."0123456789abcdef"];
const encoder = new TextEncoder();

/** The hashes of a row's key and of the whole row, each 32 hexadecimal digits. */
export interface RowDigest {
  readonly key_hash: string;
  readonly row_hash: string;
}

/** How many rows a range has and the sum of their hashes, 32 hexadecimal digits. */
export interface RangeSum {
  readonly prefix: string;
  readonly rows: number;
  readonly sum: string;
}

/** The digests of a whole row. */
export function rowDigest(table: Table, row: Row): RowDigest {
  const texts = row.map((value, index) => canonicalText(table.columns[index]!.type, value));
  return { key_hash: keyHash(table, table.keyOf(row)), row_hash: hashOf(texts) };
}

/** The hash of a key, 32 hexadecimal digits. */
export function keyHash(table: Table, key: Key): string {
  return hashOf(
    key.map((value, index) => canonicalText(table.column(table.key[index]!).type, value)),
  );
}

function hashOf(texts: readonly string[]): string {
  return hexOf(blake2b(encoder.encode(`[${texts.join(",")}]`), 16));
}

/** The sums of these ranges, in their order. No range may lie inside another. */
export function rangeSums(digests: Iterable<RowDigest>, prefixes: readonly string[]): RangeSum[] {
  const found = new Map(prefixes.map((prefix) => [prefix, { rows: 0, sum: 0n }]));
  const lengths = [...new Set(prefixes.map((prefix) => prefix.length))].sort((a, b) => a - b);
  for (const digest of digests) {
    for (const length of lengths) {
      const range = found.get(digest.key_hash.slice(0, length));
      if (range === undefined) continue;
      range.rows += 1;
      range.sum += BigInt(`0x${digest.row_hash}`);
      break;
    }
  }
  return prefixes.map((prefix) => {
    const { rows, sum } = found.get(prefix)!;
    return { prefix, rows, sum: (sum % MODULUS).toString(16).padStart(32, "0") };
  });
}

/** The prefixes of the ranges that differ, sorted. One that a side left out has no rows. */
export function differingRanges(ours: Iterable<RangeSum>, theirs: Iterable<RangeSum>): string[] {
  const texts = (sums: Iterable<RangeSum>) =>
    new Map([...sums].map((range) => [range.prefix, `${range.rows} ${range.sum}`]));
  const [here, there] = [texts(ours), texts(theirs)];
  const nothing = `0 ${"0".repeat(32)}`;
  return [...new Set([...here.keys(), ...there.keys()])]
    .sort()
    .filter((prefix) => (here.get(prefix) ?? nothing) !== (there.get(prefix) ?? nothing));
}

/** The sixteen ranges that together are this one. */
export function splitRange(prefix: string): string[] {
  return HEX.map((digit) => prefix + digit);
}
