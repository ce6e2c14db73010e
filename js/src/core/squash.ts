/**
 * Squash: many changes of one row within a group become one.
 *
 *     insert, update     insert with the last values, under the last key
 *     insert, delete     nothing
 *     update, update     update from the first values and key to the last
 *     update, delete     delete of the first key, with the first values
 *     delete, insert     both stay: a reused key is another row
 *
 * Twin of `src/reunite/core/squash.py`; `conformance/squash/` is the definition.
 */

import type { Change } from "./change.js";
import { keyText } from "./key.js";
import { isWrittenAlike, type Key, type Value } from "./values.js";

/** The changes of one group, at most one for each row where that is possible, in their order. A
 * squashed change stands in the place of the last one it holds and keeps its id, number, stamp. */
export function squash(changes: readonly Change[]): Change[] {
  const results = new Map<number, Change>();
  const openAt = new Map<string, number>(); // where the result stands that may still take more
  changes.forEach((change, index) => {
    const place = openAt.get(placeText(change.table, change.old_key ?? change.key));
    let squashed: Change | null = change;
    // Nothing can be moved past a change that touches its keys.
    for (const text of placesOf(change)) {
      const met = openAt.get(text);
      if (met !== undefined)
        for (const closed of placesOf(results.get(met)!)) openAt.delete(closed);
    }
    const first = place === undefined ? undefined : results.get(place);
    if (place !== undefined && first && change.op !== "insert" && first.op !== "delete") {
      results.delete(place);
      squashed = join(first, change);
    }
    if (squashed === null) return;
    results.set(index, squashed);
    for (const text of placesOf(squashed)) openAt.set(text, index);
  });
  return [...results.values()];
}

function placesOf(change: Change): string[] {
  const keys: Key[] = change.old_key ? [change.key, change.old_key] : [change.key];
  return keys.map((key) => placeText(change.table, key));
}

function placeText(table: string, key: Key): string {
  return `${table} ${keyText(key)}`;
}

/** `then` with all that `first` did; null if together they do nothing. */
function join(first: Change, then: Change): Change | null {
  const was = new Map([...named(then.columns, then.was), ...named(first.columns, first.was)]);
  const start = first.old_key ?? first.key;
  const known = { mark: first.mark ?? 0, covered: first.covered ?? 0 };
  if (then.op === "delete") {
    if (first.op === "insert") return null;
    return { ...then, ...known, key: start, columns: [...was.keys()], was: [...was.values()] };
  }
  const values = new Map([...named(first.columns, first.set), ...named(then.columns, then.set)]);
  if (first.op === "insert") {
    const columns = [...values.keys()];
    const set = [...values.values()];
    return { ...then, ...known, op: "insert", old_key: null, columns, set, was: [] };
  }
  const columns = [...values.keys()].filter(
    (name) => !isWrittenAlike(values.get(name)!, was.get(name)!),
  );
  const oldKey = keyText(start) === keyText(then.key) ? null : start;
  if (oldKey === null && columns.length === 0) return null;
  return {
    ...then,
    ...known,
    old_key: oldKey,
    columns,
    set: columns.map((name) => values.get(name)!),
    was: columns.map((name) => was.get(name)!),
  };
}

function named(
  columns: readonly string[] | undefined,
  values: readonly Value[] | undefined,
): [string, Value][] {
  if (values === undefined || values.length === 0) return [];
  return (columns ?? []).map((name, index) => [name, values[index]!]);
}
