/**
 * Checks for values from outside: what a column can take, and where something else stands.
 *
 * Twin of `value_faults` in `src/reunite/core/values.py`.
 */

import { type Found, isNumber, typeFault } from "./faults.js";
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
