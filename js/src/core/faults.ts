/**
 * Faults: why a column cannot take a value.
 *
 * Twin of `_fault` in `src/reunite/core/values.py`, with the same paths. JSON's 1 and 1.0 are one
 * number here. Tagged values are judged in `checks.ts`, which looks at what comes from outside.
 */

import { fromBase64 } from "./base64.js";
import { DECIMAL_LENGTH_MAX, parseDecimal } from "./decimal.js";
import { isWellFormed, JSON_DEPTH_MAX } from "./json_text.js";
import type { ColumnType } from "./schema.js";
import { isTagged, TAKES_TEXT } from "./stored.js";
import type { Value } from "./values.js";

/** Why, and where inside a json value if not in all of it; null if there is no fault. */
export type Found = string | readonly [string, string] | null;

/** The fault of a value that the page itself gave, whose tags are this client's own. */
export function faultOf(type: ColumnType, value: Value): Found {
  if (!isTagged(value)) return value === null ? null : typeFault(type, value);
  return TAKES_TEXT.has(type) || type === "json" ? null : "expected no text with a tag.";
}

export function isNumber(value: Value): boolean {
  return typeof value === "number" && Number.isFinite(value);
}

/** Why a column of this type cannot take a value, and where inside; null if it can. */
export function typeFault(type: ColumnType, value: Value): Found {
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
