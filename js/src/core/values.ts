/**
 * Values: how each column type travels, and when two values are the same.
 *
 * Twin of `src/reunite/core/values.py`; `conformance/values/` is the definition. Everywhere in the
 * client a value stands in wire form; `client/forms.ts` turns it into what a page works with.
 * BigInt occurs only inside json columns, for integers beyond 2^53.
 */

import { doubleHex, fromBase64, toBase64 } from "./base64.js";
import {
  canonicalDecimal,
  compareDecimals,
  type Decimal,
  parseDecimal,
  sumOfDecimals,
} from "./decimal.js";
import type { ColumnType } from "./schema.js";
import { isTagged, TAG, untagged, wireInteger } from "./stored.js";

export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Value[]
  | { readonly [name: string]: Value };
export type Row = readonly Value[];
export type Key = readonly Value[];

const INTEGER_TEXT = /^-?[1-9][0-9]{15,18}$/;

// --- Sameness ------------------------------------------------------------------------------------

type Plain = null | boolean | number | bigint | string;

/** Whether two values mean the same in a column of this type: 1.0 and "1.00" as decimals, UUIDs in
 * upper and lower case, JSON objects whose members stand in another order. */
export function same(type: ColumnType, a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a === null || b === null) return false;
  return canonical(type, a) === canonical(type, b);
}

/** Whether two values are the same JSON. "1.0" and "1.00" are not, though the same decimal. */
export function isWrittenAlike(a: Value, b: Value): boolean {
  return same("json", a, b);
}

/** The one representative of all values that are `same`; to be compared with `===`. */
export function canonical(type: ColumnType, value: Value): Plain {
  if (value === null) return null;
  if (type === "json" || typeof value === "object") return jsonText(value);
  if (typeof value !== "string") return numberIn(type, value);
  if (value.startsWith(TAG)) {
    const stored = type === "text" ? null : untagged(value);
    const isNumber = typeof stored === "bigint" || typeof stored === "number";
    return isNumber ? numberIn(type, stored) : value;
  }
  switch (type) {
    case "integer":
      return INTEGER_TEXT.test(value) ? plainInteger(BigInt(value)) : value;
    case "decimal": {
      const decimal = parseDecimal(value);
      return decimal === null ? value : canonicalDecimal(decimal);
    }
    case "blob": {
      const bytes = fromBase64(value);
      return bytes === null ? value : toBase64(bytes);
    }
    case "uuid":
      return value.toLowerCase();
    default:
      return value;
  }
}

/** The representative as text that every language writes alike; for hashes. */
export function canonicalText(type: ColumnType, value: Value): string {
  return scalarText(canonical(type, value));
}

function numberIn(type: ColumnType, given: boolean | number | bigint): Plain {
  let number = typeof given === "boolean" ? Number(given) : given;
  if (type === "boolean" && (number === 0 || number === 1 || number === 0n || number === 1n)) {
    return Boolean(number);
  }
  if (type === "decimal" && Math.abs(Number(number)) !== Number.POSITIVE_INFINITY) {
    return canonicalDecimal(parseDecimal(String(number))!);
  }
  if (type === "real" && typeof number === "bigint") number = Number(number);
  if (typeof number === "bigint") return plainInteger(number);
  return Number.isInteger(number) ? plainInteger(BigInt(number)) : number;
}

/** An integer as a number if that holds it exactly, so that equal ones are `===`. */
function plainInteger(number: bigint): number | bigint {
  return Number.isSafeInteger(Number(number)) ? Number(number) : number;
}

/** A number as text that every language writes alike: digits, or "~" and the double's bits. */
function numberText(number: number | bigint): string {
  if (typeof number === "number" && !Number.isInteger(number)) return `~${doubleHex(number)}`;
  return BigInt(number).toString();
}

function jsonText(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  if (typeof value !== "object" || value === null) return scalarText(value as Plain);
  const members = Object.entries(value as { [name: string]: Value });
  members.sort(([a], [b]) => compareTexts(a, b));
  return `{${members.map(([name, member]) => `${quoted(name)}:${jsonText(member)}`).join(",")}}`;
}

function scalarText(item: Plain): string {
  if (item === null || typeof item === "boolean") return String(item);
  return typeof item === "string" ? quoted(item) : numberText(item);
}

/** JSON, in which only `"`, `\` and control characters are escaped. */
const quoted = (text: string): string => JSON.stringify(text);

// --- Order and sums ------------------------------------------------------------------------------

/** By code point, as UTF-8 sorts; JavaScript's own order is that of UTF-16. */
export function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    // A surrogate is half of a letter that comes after all others.
    const [isHighX, isHighY] = [isSurrogate(x), isSurrogate(y)];
    if (isHighX !== isHighY) return isHighX ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** Negative, zero or positive: a total order of the values of a column, in which null is least,
 * numbers come before texts and `same` values are equal. */
export function compareValues(type: ColumnType, a: Value, b: Value): number {
  const [x, y] = [orderKey(type, a), orderKey(type, b)];
  if (x.rank !== y.rank) return x.rank - y.rank;
  if (typeof x.value === "string") {
    return compareTexts(x.value, y.value as string) || compareTexts(x.text, y.text);
  }
  return compareNumbers(x.value, y.value as number) || compareTexts(x.text, y.text);
}

/** Whether `a` is larger than `b` in that order. */
export function larger(type: ColumnType, a: Value, b: Value): boolean {
  return compareValues(type, a, b) > 0;
}

type Numeric = number | bigint | Decimal;

interface OrderKey {
  readonly rank: number;
  readonly value: Numeric | string;
  readonly text: string;
}

function orderKey(type: ColumnType, value: Value): OrderKey {
  if (type === "json") {
    const isJson = typeof value === "boolean" || (typeof value === "object" && value !== null);
    return isJson ? { rank: 3, value: jsonText(value), text: "" } : orderKey("text", value);
  }
  const plain = canonical(type, value);
  if (plain === null) return { rank: 0, value: 0, text: "" };
  if (typeof plain === "boolean") return { rank: 1, value: Number(plain), text: "" };
  if (typeof plain !== "string") return { rank: 1, value: plain, text: "" };
  if (isTagged(plain)) {
    const stored = untagged(plain) ?? plain;
    if (stored instanceof Uint8Array) return { rank: 4, value: hexOf(stored), text: plain };
    return { rank: typeof stored === "string" ? 2 : 1, value: stored, text: plain };
  }
  const decimal = type === "decimal" ? parseDecimal(plain) : null;
  if (decimal !== null) return { rank: 1, value: decimal, text: "" };
  const bytes = type === "blob" ? fromBase64(plain) : null;
  return { rank: 2, value: bytes === null ? plain : hexOf(bytes), text: "" };
}

function compareNumbers(a: Numeric, b: Numeric): number {
  if (typeof a !== "object" && typeof b !== "object") return a < b ? -1 : a > b ? 1 : 0;
  for (const [number, sign] of [
    [a, 1],
    [b, -1],
  ] as const) {
    if (number === Number.POSITIVE_INFINITY) return sign;
    if (number === Number.NEGATIVE_INFINITY) return -sign;
  }
  return compareDecimals(decimalOf(a), decimalOf(b));
}

function decimalOf(number: Numeric): Decimal {
  return typeof number === "object" ? number : parseDecimal(String(number))!;
}

/** `hub` + `to` - `from`, for counters; null counts as 0. Throws RangeError if one of them is no
 * number, or if the result does not fit its type. */
export function add(type: ColumnType, hub: Value, from: Value, to: Value): Value {
  if (same(type, from, to)) return hub;
  if (same(type, hub, from)) return to;
  const given = [hub, from, to];
  switch (type) {
    case "integer": {
      const [here, before, after] = given.map(integerOf) as [bigint, bigint, bigint];
      const total = here + after - before;
      if (BigInt.asIntN(64, total) !== total) refuse("The counter would need more than 64 bits.");
      return wireInteger(total);
    }
    case "real": {
      const [here, before, after] = given.map(realOf) as [number, number, number];
      const total = here + (after - before);
      if (!Number.isFinite(total)) refuse("The counter would not be finite.");
      return total;
    }
    case "decimal": {
      const [here, before, after] = given.map(decimalFrom) as [Decimal, Decimal, Decimal];
      return sumOfDecimals(here, before, after) ?? refuse("The counter would be too long.");
    }
    default:
      return refuse(`A column of type ${type} cannot count.`);
  }
}

/** The integer of a value in wire form; null counts as 0. Throws RangeError for what is none. */
export function integerOf(value: Value): bigint {
  if (value === null) return 0n;
  if (typeof value === "boolean" || Number.isSafeInteger(value)) return BigInt(value as number);
  if (typeof value === "string" && INTEGER_TEXT.test(value)) return BigInt(value);
  return refuse(`${String(value)} is no integer.`);
}

function realOf(value: Value): number {
  if (value === null || typeof value === "number" || typeof value === "boolean") {
    return Number(value ?? 0);
  }
  return refuse(`${String(value)} is no number.`);
}

function decimalFrom(value: Value): Decimal {
  const text = value === null ? "0" : typeof value === "number" ? String(value) : value;
  return (typeof text === "string" ? parseDecimal(text) : null) ?? refuse("That is no decimal.");
}

function refuse(message: string): never {
  throw new RangeError(message);
}

/** Bytes as hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
