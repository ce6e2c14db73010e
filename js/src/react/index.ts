/**
 * React: hooks that show a database of `reunite`, and render again when it is different.
 *
 *     const tasks = useRows(db.table<Task>("task").where({ done: false }).orderBy("title"));
 *     const { phase, pending } = useSyncStatus(db);
 *
 * Each hook stands on `useSyncExternalStore`, and what it gives stays the same object until it is
 * something else: rows that did not change are the same objects too, so that `memo` helps.
 * The rule: on the server, and before the first read, there are no rows yet: `undefined`.
 */

import { useCallback, useMemo, useRef, useSyncExternalStore } from "react";
import type {
  Conflict,
  Database,
  KeyLike,
  Query,
  RowObject,
  Status,
  TableHandle,
} from "../index.js";
import { identityOf, numberOf, Source } from "./source.js";

const NOTHING = () => undefined;

/**
 * The rows of a query, live; `undefined` until they were read the first time, and for no query.
 *
 * The query may be made anew at each rendering: what it asks for counts, not which object it is. A
 * condition that is a function is compared by what it is; with another one the rows before stay until
 * there are others.
 */
export function useRows<T extends object = RowObject>(
  query: Query<T> | null | undefined,
): readonly T[] | undefined {
  const last = useRef<Source<readonly T[]> | null>(null);
  const { exact, alike } = identityOf(query?.name, query?.parts);
  // Rows of another database may be another user's.
  const likeness = query ? `${numberOf(query.database)} ${alike}` : "";
  // biome-ignore lint/correctness/useExhaustiveDependencies: `exact` says all that counts of a query
  const source = useMemo(() => {
    const before = last.current?.likeness === likeness ? last.current.snapshot() : undefined;
    const watch = (tell: (rows: T[]) => void) => query?.live(tell) ?? (() => {});
    return new Source<readonly T[]>(likeness, watch, isSameList, before);
  }, [query?.database, exact]);
  last.current = source;
  return useSyncExternalStore(source.subscribe, source.snapshot, NOTHING);
}

/** The row under a key, live; null if there is none, `undefined` until it was read. */
export function useRow<T extends object = RowObject>(
  table: TableHandle<T>,
  key: KeyLike,
): T | null | undefined {
  const { exact } = identityOf(table.name, key);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `exact` says which row it is
  const source = useMemo(() => {
    return new Source<T | null>(exact, (tell) => table.liveRow(key, tell), Object.is);
  }, [table.database, exact]);
  return useSyncExternalStore(source.subscribe, source.snapshot, NOTHING);
}

/** How the replica stands: `phase`, `pending`, `error` and so on. */
export function useSyncStatus(db: Database): Status {
  const subscribe = useCallback((tell: () => void) => db.on("status", tell), [db]);
  const status = () => db.status;
  return useSyncExternalStore(subscribe, status, status);
}

/** The conflicts that a person must decide, oldest first; `undefined` until they were read. Decide
 * one by `db.decide(id, value)`. */
export function useConflicts(db: Database): readonly Conflict[] | undefined {
  const source = useMemo(() => {
    const watch = (tell: (conflicts: readonly Conflict[]) => void) => {
      const read = () => {
        const open = db.conflicts().then((all) => all.filter((conflict) => conflict.isOpen));
        // A database that was closed has nothing to tell any more.
        open.then(tell, () => {});
      };
      const ends = [db.on("conflict", read), db.on("status", read)];
      read();
      return () => {
        for (const end of ends) end();
      };
    };
    return new Source<readonly Conflict[]>("", watch, isSameConflicts);
  }, [db]);
  return useSyncExternalStore(source.subscribe, source.snapshot, NOTHING);
}

function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

function isSameConflicts(a: readonly Conflict[], b: readonly Conflict[]): boolean {
  const ids = (conflicts: readonly Conflict[]) => conflicts.map(({ id }) => id);
  return isSameList(ids(a), ids(b));
}
