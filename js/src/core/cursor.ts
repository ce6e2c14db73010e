/**
 * Cursors as hubs write them. Twin of `src/reunite/core/cursor.py`; `conformance/cursor/` is the
 * definition.
 *
 * A replica never looks into a cursor: it keeps the text and hands it back. This is for tools that
 * explain one, and to show that both languages mean the same by it.
 */

import { fromBase64, toBase64 } from "./base64.js";
import { blake2b } from "./blake2b.js";
import { isWellFormed, parseJson, writeJson } from "./json_text.js";
import { compareTexts, hexOf, type Key } from "./values.js";

export interface Cursor {
  readonly epoch: string;
  readonly seq: number | bigint;
  readonly nonce: string;
  readonly id: number | bigint;
  readonly checkpoint: number | bigint;
  readonly view: string;
  readonly snapshot: { table: string; after: Key | null; rows_total: number | bigint } | null;
  readonly seen: { seq: number | bigint; nonce: string } | null;
  readonly old_view: string | null;
  readonly expansion: { step: number | bigint; after: Key | null } | null;
}

const FORMAT_VERSION = 1;
const encoder = new TextEncoder();

/** The cursor as text; the same cursor always gives the same text. */
export function encodeCursor(cursor: Cursor): string {
  const { snapshot, seen, expansion } = cursor;
  const array: unknown[] = [
    FORMAT_VERSION,
    cursor.epoch,
    cursor.seq,
    cursor.nonce,
    cursor.id,
    cursor.checkpoint,
    cursor.view,
    snapshot && [snapshot.table, snapshot.after, snapshot.rows_total],
    seen && [seen.seq, seen.nonce],
  ];
  if (expansion !== null) array.push(cursor.old_view, [expansion.step, expansion.after]);
  else if (cursor.old_view !== null) array.push(cursor.old_view);
  const text = toBase64(encoder.encode(writeJson(array)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The inverse of `encodeCursor`; null for any other text. */
export function decodeCursor(text: string): Cursor | null {
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
  const bytes = fromBase64(base64 + "=".repeat((4 - (base64.length % 4)) % 4));
  if (bytes === null) return null;
  let array: unknown;
  try {
    array = parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return null;
  }
  if (!Array.isArray(array) || array.length < 9 || array.length > 11) return null;
  const [version, epoch, seq, nonce, id, checkpoint, view, snapshot, seen, oldView, expansion] =
    array;
  const isRight =
    version === FORMAT_VERSION &&
    [epoch, nonce, view].every(isText) &&
    [seq, id, checkpoint].every(isCount) &&
    (snapshot === null ||
      (isArray(snapshot, 3) &&
        isText(snapshot[0]) &&
        isAfter(snapshot[1]) &&
        isCount(snapshot[2]))) &&
    (seen === null || (isArray(seen, 2) && isCount(seen[0]) && isText(seen[1]))) &&
    (oldView === undefined || oldView === null || isText(oldView)) &&
    (expansion === undefined ||
      expansion === null ||
      (isArray(expansion, 2) && isCount(expansion[0]) && isAfter(expansion[1])));
  if (!isRight) return null;
  const cursor: Cursor = {
    epoch,
    seq,
    nonce,
    id,
    checkpoint,
    view,
    snapshot: snapshot && { table: snapshot[0], after: snapshot[1], rows_total: snapshot[2] },
    seen: seen && { seq: seen[0], nonce: seen[1] },
    old_view: oldView ?? null,
    expansion: expansion ? { step: expansion[0], after: expansion[1] } : null,
  };
  // One spelling a cursor: stray bits, spaces and other base64 alphabets are not ours.
  return encodeCursor(cursor) === text ? cursor : null;
}

/** The hash of a view: versions by table. */
export function viewHash(tables: Readonly<Record<string, number>>): string {
  const names = Object.keys(tables).sort(compareTexts);
  return hexOf(blake2b(encoder.encode(JSON.stringify(names.map((n) => [n, tables[n]]))), 16));
}

const isText = (value: unknown) => typeof value === "string" && isWellFormed(value);

function isArray(value: unknown, length: number): value is unknown[] {
  return Array.isArray(value) && value.length === length;
}

function isCount(value: unknown): boolean {
  if (typeof value === "bigint") return value >= 0n && BigInt.asIntN(64, value) === value;
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isAfter(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.every(isKeyValue));
}

function isKeyValue(value: unknown): boolean {
  return typeof value === "boolean" || typeof value === "number" || isText(value);
}
