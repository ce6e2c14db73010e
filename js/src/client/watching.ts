/**
 * Watching: live queries, which are called with their rows now and after every change.
 *
 * One `Mirror` a table keeps its rows in memory while anybody watches it. A change names the keys
 * it touched, and only those are read again; the rows that a query gave stay the same objects.
 */

import { keyText } from "../core/key.js";
import type { Table } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";
import type { Store } from "../replica/store.js";
import type { Forms, RowObject } from "./forms.js";
import { chosen, inOrder, type QueryParts } from "./query.js";

/** Rows that changed, by table; null for all of a table. */
export type Changes = ReadonlyMap<string, readonly Key[] | null>;

interface Watcher {
  readonly query: QueryParts;
  readonly callback: (rows: RowObject[]) => void;
  last: readonly RowObject[] | null;
}

/** All live queries of one database. */
export class Watching {
  readonly #mirrors = new Map<string, Mirror>();

  readonly #store: Store;
  readonly #forms: Forms;
  readonly #onError: (error: unknown) => void;

  constructor(store: Store, forms: Forms, onError: (error: unknown) => void) {
    this.#store = store;
    this.#forms = forms;
    this.#onError = onError;
  }

  /** Call back with the rows of a query, now and whenever they change; returns what ends it. */
  watch(table: string, query: QueryParts, callback: (rows: RowObject[]) => void): () => void {
    let mirror = this.#mirrors.get(table);
    if (mirror === undefined) {
      mirror = new Mirror(table, this.#store, this.#forms, this.#onError);
      this.#mirrors.set(table, mirror);
    }
    const watcher: Watcher = { query, callback, last: null };
    mirror.watchers.add(watcher);
    mirror.refresh(mirror.isLoaded ? [] : null);
    return () => {
      mirror.watchers.delete(watcher);
      if (mirror.watchers.size === 0 && this.#mirrors.get(table) === mirror) {
        this.#mirrors.delete(table);
      }
    };
  }

  changed(changes: Changes): void {
    for (const [table, keys] of changes) this.#mirrors.get(table)?.refresh(keys);
  }

  stop(): void {
    for (const mirror of this.#mirrors.values()) mirror.watchers.clear();
    this.#mirrors.clear();
  }
}

/** The rows of one table in the order of their keys, and who watches them. */
class Mirror {
  readonly watchers = new Set<Watcher>();
  isLoaded = false;
  #table: Table | null = null;
  #rows = new Map<string, Row>();
  #ordered: Row[] | null = null;
  #waiting: Map<string, Key> | null = new Map();
  #isBusy = false;
  #isWanted = false;

  readonly #name: string;
  readonly #store: Store;
  readonly #forms: Forms;
  readonly #onError: (error: unknown) => void;

  constructor(name: string, store: Store, forms: Forms, onError: (error: unknown) => void) {
    this.#name = name;
    this.#store = store;
    this.#forms = forms;
    this.#onError = onError;
  }

  /** Read these rows again (null: all), and tell the watchers. Calls run together. */
  refresh(keys: readonly Key[] | null): void {
    if (keys === null) this.#waiting = null;
    else for (const key of keys) this.#waiting?.set(keyText(key), key);
    this.#isWanted = true;
    if (!this.#isBusy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    try {
      while (this.#isWanted && this.watchers.size > 0) {
        this.#isWanted = false;
        const keys = this.#waiting;
        this.#waiting = new Map();
        await this.#read(keys);
        this.#tell();
      }
    } catch (error) {
      this.#waiting = null;
      this.#onError(error);
    } finally {
      this.#isBusy = false;
    }
  }

  async #read(keys: ReadonlyMap<string, Key> | null): Promise<void> {
    if (keys?.size === 0) return;
    await this.#store.read(async (tx) => {
      const table = tx.tables.get(this.#name);
      this.#table = table ?? null;
      if (keys === null || !this.isLoaded || table === undefined) {
        const byKey = new Map<string, Row>();
        const note = (rows: readonly Row[]) => {
          for (const row of rows) byKey.set(keyText(table!.keyOf(row)), row);
        };
        this.#ordered = table === undefined ? [] : await tx.rows(table, note);
        this.#rows = byKey;
        this.isLoaded = true;
        return;
      }
      const found = await Promise.all(
        [...keys].map(async ([text, key]) => [text, await tx.row(this.#name, key)] as const),
      );
      for (const [text, row] of found) {
        if (row === null) this.#rows.delete(text);
        else this.#rows.set(text, row);
      }
      this.#ordered = null;
    });
  }

  #tell(): void {
    if (this.#table === null) return;
    this.#ordered ??= inOrder(this.#table, [...this.#rows.values()]);
    for (const watcher of [...this.watchers]) {
      try {
        const rows = chosen(this.#table, this.#forms, watcher.query, this.#ordered);
        if (watcher.last !== null && isSame(watcher.last, rows)) continue;
        watcher.last = rows;
        watcher.callback(rows);
      } catch (error) {
        this.#onError(error);
      }
    }
  }
}

function isSame(a: readonly RowObject[], b: readonly RowObject[]): boolean {
  return a.length === b.length && a.every((row, index) => row === b[index]);
}
