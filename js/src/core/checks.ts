/**
 * Checks for values from outside: what a column can take, and where something else stands.
 *
 * Twin of `value_faults` in `src/reunite/core/values.py`, with the same paths. JSON's 1 and 1.0 are
 * one number here.
 */

import { fromBase64 } from "./base64.js";
import { DECIMAL_LENGTH_MAX, parseDecimal } from "./decimal.js";
import { isWellFormed, JSON_DEPTH_MAX } from "./json_text.js";
import type { Column, ColumnType } from "./schema.js";
import { isTagged, takes, untagged, wireForm } from "./stored.js";
import type { Row, Value } from "./values.js";

/** A value that its column cannot take. `inside` leads to the place in a json value. */
export interface Fault {
  readonly row: number;
  readonly column: number;
  readonly inside: string;
  readonly reason: string;
}

/** All values that their columns cannot take, in order of rows. With `isLoose`, any number and any
 * tagged value passes in any column: what a loosely typed database may have stored. */
export function valueFaults(
  columns: readonly Column[],
  rows: readonly Row[],
  isLoose = false,
): Fault[] {
  const faults: Fault[] = [];
  rows.forEach((values, row) => {
    columns.forEach((column, position) => {
      const value = values[position] as Value;
      if (value === null || (isLoose && isNumber(value))) return;
      const reason = isTagged(value)
        ? tagFault(column.type, value, isLoose)
        : typeFault(column.type, value);
      if (reason === null) return;
      const [inside, text] = typeof reason === "string" ? ["", reason] : reason;
      faults.push({ row, column: position, inside, reason: text });
    });
  });
  return faults;
}

type Found = string | readonly [string, string] | null;

function isNumber(value: Value): boolean {
  return typeof value === "number" && Number.isFinite(value);
}

function tagFault(type: ColumnType, value: string, isLoose: boolean): Found {
  const stored = untagged(value);
  if (stored === null) return "text that begins with reunite: is written reunite:text:reunite:…";
  if (wireForm(type, stored) !== value) {
    return "the value has a form of its own in this column and is not tagged.";
  }
  if (isLoose || takes(type, stored)) return null;
  if (type === "json" && typeof stored === "string" && isJson(stored)) return null;
  return "the column takes no such value.";
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function typeFault(type: ColumnType, value: Value): Found {
  if (typeof value === "string" && !isWellFormed(value)) return "the text has a lone surrogate.";
  switch (type) {
    case "json":
      return jsonFault(value);
    case "integer":
      return integerFault(value);
    case "decimal":
      if (typeof value !== "string") return "expected a decimal as text.";
      if (value.length > DECIMAL_LENGTH_MAX) return "the decimal has too many characters.";
      return parseDecimal(value) === null ? "the text is no decimal, such as -12.50." : null;
    case "blob":
      if (typeof value !== "string") return "expected base64 text.";
      return fromBase64(value) === null ? "the text is no base64." : null;
    case "boolean":
      return typeof value === "boolean" ? null : "expected true or false.";
    case "real":
      return isNumber(value) ? null : "expected a finite number.";
    case "text":
    case "uuid":
      return typeof value === "string" ? null : "expected text.";
    default:
      return typeof value === "string" || isNumber(value) ? null : "expected text or a number.";
  }
}

function integerFault(value: Value): Found {
  if (typeof value === "number") {
    return Number.isSafeInteger(value) ? null : "expected an integer; beyond 2^53 it is text.";
  }
  if (typeof value !== "string" || !/^-?[1-9][0-9]{15,18}$/.test(value)) {
    return "expected an integer.";
  }
  const number = BigInt(value);
  if (Number.isSafeInteger(Number(number))) return "an integer is text only beyond 2^53.";
  return BigInt.asIntN(64, number) === number ? null : "the integer needs more than 64 bits.";
}

function jsonFault(root: Value): Found {
  // With a list of its own instead of recursion: the depth comes from outside.
  const waiting: [string, number, Value][] = [["", 0, root]];
  while (waiting.length > 0) {
    const [place, depth, item] = waiting.pop()!;
    if (typeof item === "object" && item !== null) {
      if (depth >= JSON_DEPTH_MAX) return [place, "arrays and objects are nested too deeply."];
      const members: [string, Value][] = Array.isArray(item)
        ? item.map((member, index) => [`${place}[${index}]`, member])
        : Object.entries(item).map(([name, member]) => [`${place}.${name}`, member]);
      for (const [where, member] of members) waiting.push([where, depth + 1, member]);
    } else {
      const reason = scalarFault(item);
      if (reason !== null) return [place, reason];
    }
  }
  return null;
}

function scalarFault(item: Value | undefined): string | null {
  if (typeof item === "bigint") {
    return BigInt.asIntN(64, item) === item ? null : "the integer needs more than 64 bits.";
  }
  if (typeof item === "number") return Number.isFinite(item) ? null : "the number is not finite.";
  if (typeof item === "string") return isWellFormed(item) ? null : "the text has a lone surrogate.";
  return item === null || typeof item === "boolean" ? null : "this is no JSON value.";
}
