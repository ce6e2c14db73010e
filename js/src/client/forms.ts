/**
 * Forms: what a page reads and writes, and the wire form of it.
 *
 *     integer      number; beyond 2^53 decimal text, or BigInt if asked for
 *     decimal      text, "1.50"; numbers may be written
 *     blob         Uint8Array; ArrayBuffer and base64 text may be written
 *     datetime     text in ISO 8601, or Date if asked for; Date may always be written
 *     json         the value itself
 *     others       as on the wire: text, number, boolean
 */

import { fromBase64, toBase64 } from "../core/base64.js";
import { parseJson, writeJson } from "../core/json_text.js";
import type { Column, Table } from "../core/schema.js";
import { isTagged, TAKES_TEXT, tagged, textForm, untagged, wireInteger } from "../core/stored.js";
import type { Key, Row, Value } from "../core/values.js";
import { badRequest, type ReuniteError } from "../errors.js";
import type { WireValues } from "../replica/writing.js";

/** How values look to the page. */
export interface FormOptions {
  /** Integers beyond ±(2^53 - 1): "string" (the default) or "bigint". */
  readonly longIntegers?: "string" | "bigint";
  /** Columns of dates with a time: "string" (the default, microseconds stay) or "date". */
  readonly datetimes?: "string" | "date";
}

/** A row, as an object by column. */
export type RowObject = Record<string, unknown>;

/** A key: the value itself, or an array of them where a table's key has several columns. */
export type KeyLike = unknown;

export class Forms {
  // Rows are never changed in place, so the object of one stays the same while the row does.
  readonly #objects = new WeakMap<Row, RowObject>();

  readonly #options: FormOptions;

  constructor(options: FormOptions) {
    this.#options = options;
  }

  /** A row as the page sees it; the same object for the same row. */
  object(table: Table, row: Row): RowObject {
    let found = this.#objects.get(row);
    if (found === undefined) {
      found = {};
      for (const [index, column] of table.columns.entries()) {
        const value = this.read(column, row[index]!);
        if (column.name === "__proto__") {
          // To assign it would make it the prototype.
          Object.defineProperty(found, column.name, { value, enumerable: true });
        } else {
          found[column.name] = value;
        }
      }
      this.#objects.set(row, found);
    }
    return found;
  }

  /** A key as the page sees it. */
  key(table: Table, key: Key): unknown {
    const values = key.map((value, index) => this.read(table.column(table.key[index]!), value));
    return values.length === 1 ? values[0] : values;
  }

  /** Named values, such as those of a parked change, as the page sees them. */
  named(table: Table | undefined, values: WireValues | null): RowObject | null {
    if (values === null) return null;
    const members = Object.entries(values);
    return Object.fromEntries(
      members.map(([name, value]) => {
        const isKnown = table?.position.has(name) ?? false;
        return [name, isKnown ? this.read(table!.column(name), value) : value];
      }),
    );
  }

  /** A value of a column as the page sees it. */
  read(column: Column, wire: Value): unknown {
    if (wire === null) return null;
    if (isTagged(wire)) {
      const stored = untagged(wire) ?? wire;
      return typeof stored === "bigint" ? this.#integer(stored) : stored;
    }
    if (typeof wire !== "string") return wire;
    switch (column.type) {
      case "integer":
        return /^-?[0-9]+$/.test(wire) ? this.#integer(BigInt(wire)) : wire;
      case "blob":
        return fromBase64(wire) ?? wire;
      case "datetime": {
        const date = this.#options.datetimes === "date" ? new Date(wire) : null;
        return date === null || Number.isNaN(date.getTime()) ? wire : date;
      }
      default:
        return wire;
    }
  }

  #integer(number: bigint): number | bigint | string {
    const wire = wireInteger(number);
    return typeof wire === "number" || this.#options.longIntegers !== "bigint" ? wire : number;
  }
}

/** The wire form of what a page gives for a column. What fits no column is found by the writer. */
export function wireOf(column: Column, given: unknown): Value {
  if (given === null || given === undefined) return null;
  if (typeof given === "symbol" || typeof given === "function") {
    throw unfit(column, `a ${typeof given} is no value.`);
  }
  if (column.type === "json") return jsonOf(column, given);
  if (typeof given === "bigint") {
    return column.type === "decimal" ? given.toString() : wireInteger(given);
  }
  if (given instanceof Date) return dateOf(column, given);
  if (given instanceof ArrayBuffer) return wireOf(column, new Uint8Array(given));
  if (given instanceof Uint8Array) {
    return column.type === "blob" ? toBase64(given) : tagged(given);
  }
  if (typeof given === "number" && column.type === "decimal") return String(given);
  if (typeof given === "number" && column.type === "any" && !Number.isSafeInteger(given)) {
    return Number.isInteger(given) ? tagged(given) : given;
  }
  if (typeof given === "string" && TAKES_TEXT.has(column.type)) return textForm(given);
  return given as Value;
}

/** What is an object by column. Throws `bad-request` for anything else. */
export function recordOf<Given>(given: Given, what: string): Given & object {
  if (typeof given === "object" && given !== null && !Array.isArray(given)) return given;
  throw badRequest(`Give ${what} as an object: { column: value }.`, "values");
}

function unfit(column: Column, reason: string, cause?: unknown): ReuniteError {
  return badRequest(`Column '${column.name}': ${reason}`, column.name, cause);
}

/** Named values in wire form; what is undefined was not given. */
export function wireValues(table: Table, given: object): WireValues {
  const members = Object.entries(recordOf(given, "values")).filter(
    ([, value]) => value !== undefined,
  );
  return Object.fromEntries(
    members.map(([name, value]) => [
      name,
      table.position.has(name) ? wireOf(table.column(name), value) : null,
    ]),
  );
}

/** The key that a page means. */
export function wireKey(table: Table, given: KeyLike): Key {
  const values = Array.isArray(given) && table.key.length > 1 ? given : [given];
  if (values.length !== table.key.length || values.some((v) => v === undefined || v === null)) {
    const message = `The key of '${table.name}' is ${table.key.join(", ")}: give ${
      table.key.length === 1 ? "its value" : "an array of their values"
    }.`;
    throw badRequest(message, "key");
  }
  return values.map((value, index) => wireOf(table.column(table.key[index]!), value));
}

function jsonOf(column: Column, given: unknown): Value {
  let text: string | undefined;
  try {
    // What JSON has no word for, such as a Date, becomes what JSON makes of it.
    text = writeJson(given);
  } catch (cause) {
    throw unfit(column, `it cannot be written as JSON: ${cause}`, cause);
  }
  if (text === undefined) return null;
  const value = parseJson(text) as Value;
  return isTagged(value) ? tagged(text) : value;
}

function dateOf(column: Column, date: Date): Value {
  if (Number.isNaN(date.getTime())) {
    throw unfit(column, "the Date is not valid.");
  }
  const text = date.toISOString();
  if (column.type === "date") return text.slice(0, 10);
  return column.type === "time" ? `${text.slice(11, -1)}000` : `${text.slice(0, -1)}000Z`;
}
