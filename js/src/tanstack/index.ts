/**
 * TanStack DB: a table of `reunite` as a collection.
 *
 *     const tasks = createCollection(
 *       reuniteCollectionOptions<Task, string>({ table: db.table("task"), getKey: (task) => task.id }),
 *     );
 *
 * The collection is filled from the replica and follows it, whoever changes it. What is written to
 * the collection is one transaction of the replica: it is done as soon as it stands in IndexedDB,
 * also without a network; if the hub refuses it later, the collection goes back with the replica.
 */

import type { CollectionConfig, PendingMutation } from "@tanstack/db";
import type { KeyLike, RowObject, TableHandle } from "../index.js";

/** What `reuniteCollectionOptions` is told. */
export interface ReuniteCollectionOptions<T extends object, Key extends string | number> {
  readonly table: TableHandle<T>;
  /** The key that the collection has for a row: text or a number. */
  readonly getKey: (row: T) => Key;
  /** The key that the table has for it, where that is another one: an array for several columns. */
  readonly rowKey?: (row: T) => KeyLike;
  /** The collection's name; the table's if left out. */
  readonly id?: string;
}

/** The options for `createCollection`. */
export function reuniteCollectionOptions<
  T extends object = RowObject,
  Key extends string | number = string | number,
>(options: ReuniteCollectionOptions<T, Key>): CollectionConfig<T, Key> {
  const { table, getKey } = options;
  const rowKey = options.rowKey ?? getKey;
  const { database, name } = table;
  const known = new Map<Key, T>();
  let sync: Sync<T, Key> | null = null;

  /** Show some rows as they are now; null for one that is not there. */
  const show = (rows: ReadonlyMap<Key, T | null>) => {
    const news = [...rows].filter(([key, row]) => (known.get(key) ?? null) !== row);
    if (sync === null || news.length === 0) return;
    sync.begin();
    for (const [key, row] of news) {
      if (row === null) {
        sync.write({ type: "delete", key });
        known.delete(key);
      } else {
        sync.write({ type: known.has(key) ? "update" : "insert", value: row });
        known.set(key, row);
      }
    }
    void Promise.resolve(sync.commit()).catch(() => {});
  };

  const write = async ({ transaction }: { transaction: { mutations: Mutation<T, Key>[] } }) => {
    const { mutations } = transaction;
    await database.transaction(async (tx) => {
      for (const { type, original, modified, changes } of mutations) {
        if (type === "insert") await tx.create(name, given(modified));
        else if (type === "delete") await tx.delete(name, rowKey(original as T));
        else await tx.update(name, rowKey(original as T), given(changes));
      }
    });
    // Now, not when the replica tells: the collection must not fall back in between.
    const rows = mutations.map(async ({ modified, key }) => {
      return [key, await table.get(rowKey(modified))] as const;
    });
    show(new Map(await Promise.all(rows)));
  };

  return {
    id: options.id ?? name,
    getKey,
    sync: {
      // Rows come whole; a part of one would be taken for the rest of it.
      rowUpdateMode: "full",
      sync: (given) => {
        sync = given;
        const end = table.live((rows) => {
          const now = new Map<Key, T | null>(rows.map((row) => [getKey(row), row]));
          for (const key of known.keys()) if (!now.has(key)) now.set(key, null);
          show(now);
          given.markReady();
        });
        return () => {
          end();
          sync = null;
          known.clear();
        };
      },
    },
    onInsert: write as NonNullable<CollectionConfig<T, Key>["onInsert"]>,
    onUpdate: write as NonNullable<CollectionConfig<T, Key>["onUpdate"]>,
    onDelete: write as NonNullable<CollectionConfig<T, Key>["onDelete"]>,
  };
}

type Mutation<T extends object, Key> = Omit<PendingMutation<T>, "key"> & { readonly key: Key };
type Sync<T extends object, Key extends string | number> = Parameters<
  CollectionConfig<T, Key>["sync"]["sync"]
>[0];

/** Without what collections add to rows for themselves. */
function given(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([column]) => !column.startsWith("$")));
}
