/**
 * Generations of tables that come whole because they have other columns.
 */

import { isKept, type Table, tablesOf } from "../core/schema.js";
import type { Page } from "../protocol/messages.js";
import { only, said } from "../replica/generations.js";
import type { State } from "../replica/state.js";

/** Note them: the hub's next schemas are others than those of the rows that are shown. */
export function generationsOfNew(
  state: State,
  page: Page,
  next: Parameters<typeof tablesOf>[0],
): void {
  const before = tablesOf(state.schemas);
  const isNew = (table: Table) => {
    const old = before.get(table.name);
    return old === undefined || !isKept(old, table);
  };
  const names = [...tablesOf(next).values()].filter(isNew).map((table) => table.name);
  const begun = names.filter((name) => Object.hasOwn(page.schemas, name));
  state.nextGenerations = { ...only(begun, said(page)), ...state.nextGenerations };
}
