/**
 * Queries: which rows of a table are asked for, in which order, and how many.
 */

import { keyText } from "../core/key.js";
import type { Table } from "../core/schema.js";
import { compareValues, type Row, same, type Value } from "../core/values.js";
import { placeIn } from "../replica/writing.js";
import { type Forms, type KeyLike, type RowObject, recordOf, wireKey, wireOf } from "./forms.js";

/** Values by column that rows must have (an array: any of them), or a function of the row. */
export type Condition<T> = Partial<Record<keyof T & string, unknown>> | ((row: T) => boolean);

export interface QueryParts {
  readonly conditions: readonly Condition<RowObject>[];
  readonly order: readonly { readonly column: string; readonly isDescending: boolean }[];
  readonly limit: number | null;
  /** The key of the only row that is meant. */
  readonly key?: KeyLike;
}

export const EVERYTHING: QueryParts = { conditions: [], order: [], limit: null };

/** The rows that a query chooses, of rows that stand in the order of their keys. */
export function chosen(
  table: Table,
  forms: Forms,
  query: QueryParts,
  rows: readonly Row[],
): RowObject[] {
  const tests = query.conditions.map((condition) => testOf(table, forms, condition));
  if (query.key !== undefined) {
    const key = keyText(wireKey(table, query.key));
    tests.push((row) => keyText(table.keyOf(row)) === key);
  }
  let found = tests.length === 0 ? rows : rows.filter((row) => tests.every((test) => test(row)));
  if (query.order.length > 0) {
    const terms = query.order.map(({ column, isDescending }) => ({
      place: placeIn(table, column),
      type: table.column(column).type,
      sign: isDescending ? -1 : 1,
    }));
    found = [...found].sort((a, b) => {
      for (const { place, type, sign } of terms) {
        const order = compareValues(type, a[place]!, b[place]!);
        if (order !== 0) return sign * order;
      }
      return 0;
    });
  }
  if (query.limit !== null) found = found.slice(0, query.limit);
  return found.map((row) => forms.object(table, row));
}

function testOf(
  table: Table,
  forms: Forms,
  condition: Condition<RowObject>,
): (row: Row) => boolean {
  if (typeof condition === "function") return (row) => condition(forms.object(table, row));
  const values = recordOf(condition, "a condition");
  const terms = Object.entries(values).map(([name, wanted]) => {
    const place = placeIn(table, name);
    const column = table.columns[place]!;
    const isList = Array.isArray(wanted) && column.type !== "json";
    const values: Value[] = (isList ? wanted : [wanted]).map((value) => wireOf(column, value));
    return { place, type: column.type, values };
  });
  return (row) =>
    terms.every(({ place, type, values }) => values.some((v) => same(type, row[place]!, v)));
}

/** As IndexedDB orders keys of numbers and texts. */
export function inOrder(table: Table, rows: Row[]): Row[] {
  const places = table.keyPositions;
  return rows.sort((a, b) => {
    for (const place of places) {
      const [x, y] = [a[place]!, b[place]!];
      if (x === y) continue;
      if (typeof x === typeof y && typeof x !== "object") return x < y ? -1 : 1;
      return typeof x === "number" ? -1 : 1;
    }
    return 0;
  });
}
