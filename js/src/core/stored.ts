/**
 * Stored values: what a loosely typed database holds, and its wire form in a column of a type.
 *
 * Twin of `src/reunite/core/stored.py`. A string that begins with `reunite:` is *tagged*: it tells
 * a value by its kind. A replica in a browser keeps such strings as they are; only what the page
 * itself reads and writes is turned into them and back.
 */

import { doubleHex, doubleOf, fromBase64, toBase64 } from "./base64.js";
import { parseDecimal } from "./decimal.js";
import { readLossless } from "./json_text.js";
import type { ColumnType } from "./schema.js";
import type { Value } from "./values.js";

/** Integers are BigInt, reals are numbers. */
export type Stored = bigint | number | string | Uint8Array;

export const TAG = "reunite:";

/** Columns in which a text is a value like any other. */
export const TAKES_TEXT: ReadonlySet<ColumnType> = new Set([
  "any",
  "text",
  "uuid",
  "date",
  "time",
  "datetime",
]);

/** Whether a value in wire form stands for another one. */
export function isTagged(value: unknown): value is string {
  return typeof value === "string" && value.startsWith(TAG);
}

/** A stored value, told by its kind. */
export function tagged(stored: Stored): string {
  if (typeof stored === "bigint") return `${TAG}integer:${stored}`;
  // Minus zero as zero: no comparison of a database tells them apart, so neither may a key.
  if (typeof stored === "number") return `${TAG}real:${doubleHex(stored + 0)}`;
  if (typeof stored === "string") return `${TAG}text:${stored}`;
  return `${TAG}blob:${toBase64(stored)}`;
}

/** The inverse of `tagged`; null for what that would not have written. */
export function untagged(text: string): Stored | null {
  const [, kind, rest] = /^reunite:(integer|real|text|blob):(.*)$/s.exec(text) ?? [];
  if (kind === undefined || rest === undefined) return null;
  if (kind === "text") return rest;
  let stored: Stored | null = null;
  if (kind === "integer" && /^-?[0-9]{1,19}$/.test(rest)) {
    const number = BigInt(rest);
    stored = BigInt.asIntN(64, number) === number ? number : null;
  } else if (kind === "real" && /^[0-9a-f]{16}$/.test(rest)) {
    stored = doubleOf(rest);
  } else if (kind === "blob") {
    stored = fromBase64(rest);
  }
  if (stored === null || Number.isNaN(stored)) return null;
  return tagged(stored) === text ? stored : null;
}

/** An integer in wire form: text beyond ±(2^53 - 1). */
export function wireInteger(number: bigint): number | string {
  const plain = Number(number);
  return Number.isSafeInteger(plain) ? plain : number.toString();
}

/** The wire form of a stored value (not null) in a column of this type. */
export function wireForm(type: ColumnType, stored: Stored): Value {
  const isPlain = typeof stored === "number" && Number.isFinite(stored);
  switch (type) {
    case "integer":
      return typeof stored === "bigint" ? wireInteger(stored) : byKind(stored);
    case "real":
      return isPlain ? stored : byKind(stored);
    case "decimal":
      return decimalForm(stored);
    case "boolean":
      return stored === 0n || stored === 1n ? stored === 1n : byKind(stored);
    case "blob":
      return stored instanceof Uint8Array ? toBase64(stored) : byKind(stored);
    case "json":
      return jsonForm(stored);
    default:
      return typeof stored === "string" ? textForm(stored) : byKind(stored);
  }
}

/** The wire form of a text where texts are values like any other. */
export function textForm(text: string): string {
  return isTagged(text) ? tagged(text) : text;
}

/** Whether a column of this type takes a value whose wire form is tagged, from outside. */
export function takes(type: ColumnType, stored: Stored): boolean {
  if (typeof stored === "number" && !Number.isFinite(stored)) return false;
  if (type === "any") return true;
  if (stored instanceof Uint8Array) return false;
  if (typeof stored === "string") return TAKES_TEXT.has(type);
  return type === "date" || type === "time" || type === "datetime";
}

function byKind(stored: Stored): Value {
  if (typeof stored === "bigint" && typeof wireInteger(stored) === "number") return Number(stored);
  if (typeof stored === "number" && Number.isFinite(stored) && !Number.isInteger(stored)) {
    return stored;
  }
  return tagged(stored);
}

function decimalForm(stored: Stored): Value {
  if (typeof stored === "bigint") return stored.toString();
  if (typeof stored === "number" && Number.isFinite(stored)) return realText(stored + 0);
  return typeof stored === "string" && parseDecimal(stored) !== null ? stored : byKind(stored);
}

function jsonForm(stored: Stored): Value {
  if (typeof stored === "bigint")
    return Number.isSafeInteger(Number(stored)) ? Number(stored) : stored;
  if (typeof stored === "number" && Number.isFinite(stored)) return stored;
  if (typeof stored !== "string") return byKind(stored);
  try {
    const value = readLossless(stored);
    return isTagged(value) ? tagged(stored) : value;
  } catch {
    return tagged(stored);
  }
}

/** A double as Python writes it: the shortest digits, ".0" where there is no fraction. */
function realText(number: number): string {
  const [digits, exponent] = number.toExponential().split("e") as [string, string];
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const plain = String(number);
  if (!plain.includes("e")) return plain.includes(".") ? plain : `${plain}.0`;
  return number.toFixed(-power + digits.replace(/[-.]/g, "").length - 1);
}
