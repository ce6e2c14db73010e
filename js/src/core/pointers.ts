/**
 * Which rows a change points to: what makes one change depend on another.
 *
 * Twin of `src/reunite/core/pointers.py`. Hub and replica ask the same question, so there is one
 * answer.
 */

import type { ForeignKey, Tables } from "./schema.js";
import type { Key, Row } from "./values.js";

/** Where in values of these columns the parent's primary key stands, in its order; nowhere for
 * parents that are not here or are pointed to by another unique key. */
export function pointerPlaces(
  tables: Tables,
  foreignKey: ForeignKey,
  columns: readonly string[],
): number[] {
  const parent = tables.get(foreignKey.parent);
  const { columns: own, parent_columns: theirs } = foreignKey;
  if (parent === undefined || theirs.length !== parent.key.length) return [];
  const places = parent.key.map((name) => columns.indexOf(own[theirs.indexOf(name)] ?? ""));
  return places.includes(-1) ? [] : places;
}

/** [table, key] of the parents that values of these columns point to; null points nowhere. */
export function pointedParents(
  tables: Tables,
  table: string,
  columns: readonly string[],
  values: Row,
): [string, Key][] {
  const found: [string, Key][] = [];
  for (const foreignKey of tables.get(table)!.foreignKeys) {
    const places = pointerPlaces(tables, foreignKey, columns);
    const key = places.map((place) => values[place]!);
    if (key.length > 0 && key.every((value) => value !== null))
      found.push([foreignKey.parent, key]);
  }
  return found;
}
