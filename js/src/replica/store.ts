/**
 * The store: one IndexedDB database a replica, and transactions on it.
 *
 *     rows        [table, …key] → the row as an array, as the page sees it
 *     outbox      by n          pending changes
 *     base        by place      the hub's image of rows with pending changes
 *     inbox                     pages that wait for their checkpoint
 *     conflicts, parked         what people should see
 *     state                     one record, see `state.ts`
 *
 * The layout is the same whatever tables a hub has, so that a new schema never needs a new version
 * of the database, which could not come while another tab has it open.
 * The rule: inside a transaction only requests to IndexedDB are awaited, never the network.
 */

import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB, unwrap } from "idb";
import { writeJson } from "../core/json_text.js";
import { type Table, type Tables, tablesOf } from "../core/schema.js";
import type { Key, Row, Value } from "../core/values.js";
import { ReuniteError } from "../errors.js";
import type { Page } from "../protocol/messages.js";
import type { Pending, Place } from "./pending.js";
import type { ConflictRecord, ParkedRecord } from "./records.js";
import { newState, type State } from "./state.js";

const LAYOUT_VERSION = 1;
const STORES = ["rows", "outbox", "base", "inbox", "conflicts", "parked", "state"] as const;

// Rows that are written before the browser gets a turn: far less than a frame.
const ROWS_AT_ONCE = 200;

/** The hub's image of a row with pending changes. */
export interface Base {
  readonly place: Place;
  readonly row: Row | null;
  readonly isEvicted: boolean;
}

interface Layout extends DBSchema {
  rows: { key: IDBValidKey; value: Row };
  outbox: { key: number; value: Pending };
  base: { key: string; value: Base };
  inbox: { key: number; value: Page };
  conflicts: { key: number; value: ConflictRecord };
  parked: { key: number; value: ParkedRecord };
  state: { key: string; value: State };
}

type Mode = "readonly" | "readwrite";

/** One replica's database. */
export class Store {
  private isClosed = false;

  private constructor(
    private readonly database: IDBPDatabase<Layout>,
    private readonly durability: "relaxed" | "strict",
  ) {}

  /** Open, or make, the database of this name. `onLost` is called if the browser takes it away. */
  static async open(
    name: string,
    options: { durability?: "relaxed" | "strict"; onLost?: () => void } = {},
  ): Promise<Store> {
    const database = await openDB<Layout>(databaseName(name), LAYOUT_VERSION, {
      upgrade(fresh) {
        fresh.createObjectStore("rows");
        fresh.createObjectStore("outbox", { keyPath: "n" });
        fresh.createObjectStore("base", { keyPath: "place" });
        fresh.createObjectStore("inbox", { autoIncrement: true });
        fresh.createObjectStore("conflicts", { keyPath: "id", autoIncrement: true });
        fresh.createObjectStore("parked", { keyPath: "id", autoIncrement: true });
        fresh.createObjectStore("state");
      },
      // Somebody deletes the database, or a newer release opens it: let go.
      blocking: () => {
        database.close();
        options.onLost?.();
      },
      terminated: () => options.onLost?.(),
    });
    return new Store(database, options.durability ?? "relaxed");
  }

  /** Look at a state that stays as it is meanwhile. */
  read<Result>(look: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.run("readonly", look);
  }

  /** Change something: all of it happens, or nothing if `change` throws. */
  write<Result>(change: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.run("readwrite", change);
  }

  close(): void {
    this.isClosed = true;
    this.database.close();
  }

  private async run<Result>(mode: Mode, work: (tx: Tx) => Promise<Result>): Promise<Result> {
    if (this.isClosed) throw new ReuniteError("closed", "The database was closed: connect again.");
    let inner: IDBPTransaction<Layout, typeof STORES, Mode>;
    try {
      inner = this.database.transaction(STORES, mode, { durability: this.durability });
    } catch (error) {
      throw translated(error);
    }
    inner.done.catch(() => {}); // told below
    try {
      const tx = new Tx(inner, (await inner.objectStore("state").get("state")) ?? newState());
      const result = await work(tx);
      if (mode === "readwrite") await inner.objectStore("state").put!(tx.state, "state");
      await inner.done;
      return result;
    } catch (error) {
      try {
        inner.abort();
      } catch {
        // It has ended by itself.
      }
      throw translated(inner.error ?? error);
    }
  }
}

/** The name that a replica's database has among all of an origin. */
export function databaseName(name: string): string {
  return `reunite:${name}`;
}

function translated(error: unknown): unknown {
  if (!(error instanceof DOMException)) return error;
  if (error.name === "QuotaExceededError") {
    return new ReuniteError("storage-full", "The browser has no room for more: free some.", {
      cause: error,
    });
  }
  if (error.name === "InvalidStateError" || error.name === "NotFoundError") {
    const message = "The browser threw this replica's database away: connect again.";
    return new ReuniteError("storage-lost", message, { cause: error });
  }
  return error;
}

/** One transaction. `state` is written back when a writing one ends. */
export class Tx {
  private known: Tables | null = null;

  constructor(
    private readonly inner: IDBPTransaction<Layout, typeof STORES, Mode>,
    readonly state: State,
  ) {}

  /** The tables that rows are shown in. */
  get tables(): Tables {
    this.known ??= tablesOf(this.state.schemas);
    return this.known;
  }

  /** The hub's tables are others now. */
  forgetTables(): void {
    this.known = null;
  }

  // -- rows ---------------------------------------------------------------------------------------

  async row(table: string, key: Key): Promise<Row | null> {
    return (await this.inner.objectStore("rows").get(rowKey(table, key))) ?? null;
  }

  /** All rows of a table, in the order of their keys. */
  rows(table: string): Promise<Row[]> {
    return this.inner.objectStore("rows").getAll(rangeOf(table));
  }

  async largestKey(table: string): Promise<Value> {
    const cursor = await this.inner.objectStore("rows").openCursor(rangeOf(table), "prev");
    return cursor === null ? null : ((cursor.key as Value[])[1] ?? null);
  }

  async clearTable(table: string): Promise<void> {
    await this.inner.objectStore("rows").delete!(rangeOf(table));
  }

  async deleteRow(table: string, key: Key): Promise<void> {
    await this.inner.objectStore("rows").delete!(rowKey(table, key));
  }

  /** Delete and put rows, a few at a time so that the page stays awake. */
  async writeRows(table: Table, gone: readonly Key[], puts: readonly Row[]): Promise<void> {
    const store = unwrap(this.inner.objectStore("rows")) as unknown as IDBObjectStore;
    const { name, keyPositions } = table;
    let request: IDBRequest | null = null;
    let count = 0;
    for (const key of gone) {
      request = store.delete(rowKey(name, key) as IDBValidKey);
      count += 1;
      if (count % ROWS_AT_ONCE === 0) await settled(request);
    }
    for (const row of puts) {
      const key: unknown[] = [name];
      for (const position of keyPositions) key.push(keyPart(row[position]!));
      request = store.put(row, key as IDBValidKey);
      count += 1;
      if (count % ROWS_AT_ONCE === 0) await settled(request);
    }
    if (request !== null && count % ROWS_AT_ONCE !== 0) await settled(request);
  }

  // -- outbox and base ----------------------------------------------------------------------------

  /** All pending changes in order of n. */
  outbox(): Promise<Pending[]> {
    return this.inner.objectStore("outbox").getAll();
  }

  /** So many pending changes from a number on. */
  outboxFrom(n: number, count: number): Promise<Pending[]> {
    return this.inner.objectStore("outbox").getAll(IDBKeyRange.lowerBound(n), count);
  }

  outboxCount(): Promise<number> {
    return this.inner.objectStore("outbox").count();
  }

  async change(n: number): Promise<Pending | null> {
    return (await this.inner.objectStore("outbox").get(n)) ?? null;
  }

  async putChanges(pendings: Iterable<Pending>): Promise<void> {
    const store = this.inner.objectStore("outbox");
    await Promise.all([...pendings].map((pending) => store.put!(pending)));
  }

  async removeChanges(numbers: Iterable<number>): Promise<void> {
    const store = this.inner.objectStore("outbox");
    await Promise.all([...numbers].map((n) => store.delete!(n)));
  }

  async clearOutbox(): Promise<void> {
    await this.inner.objectStore("outbox").clear!();
  }

  bases(): Promise<Base[]> {
    return this.inner.objectStore("base").getAll();
  }

  async replaceBases(bases: readonly Base[]): Promise<void> {
    const store = this.inner.objectStore("base");
    await store.clear!();
    await Promise.all(bases.map((base) => store.put!(base)));
  }

  // -- inbox --------------------------------------------------------------------------------------

  async addPage(page: Page): Promise<void> {
    await this.inner.objectStore("inbox").add!(page);
  }

  async clearInbox(): Promise<void> {
    await this.inner.objectStore("inbox").clear!();
  }

  pageCount(): Promise<number> {
    return this.inner.objectStore("inbox").count();
  }

  /** The pages that gathered, one in memory at a time. */
  async *pages(): AsyncGenerator<Page> {
    let cursor = await this.inner.objectStore("inbox").openCursor();
    while (cursor !== null) {
      // Read on by key: whoever takes the page awaits other requests meanwhile.
      const { key, value } = cursor;
      yield value;
      cursor = await this.inner.objectStore("inbox").openCursor(IDBKeyRange.lowerBound(key, true));
    }
  }

  // -- records ------------------------------------------------------------------------------------

  conflicts(): Promise<ConflictRecord[]> {
    return this.inner.objectStore("conflicts").getAll();
  }

  parked(): Promise<ParkedRecord[]> {
    return this.inner.objectStore("parked").getAll();
  }

  async putConflict(record: Omit<ConflictRecord, "id"> | ConflictRecord): Promise<number> {
    return this.inner.objectStore("conflicts").put!(record as ConflictRecord);
  }

  async putParked(record: Omit<ParkedRecord, "id"> | ParkedRecord): Promise<number> {
    return this.inner.objectStore("parked").put!(record as ParkedRecord);
  }

  async removeParked(id: number): Promise<void> {
    await this.inner.objectStore("parked").delete!(id);
  }

  async removeConflict(id: number): Promise<void> {
    await this.inner.objectStore("conflicts").delete!(id);
  }
}

function settled(request: IDBRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
  });
}

/** Where a row stands. IndexedDB has no booleans among its keys, nor objects. */
function rowKey(table: string, key: Key): IDBValidKey {
  return [table, ...key.map(keyPart)] as IDBValidKey;
}

function keyPart(value: Value): unknown {
  if (typeof value === "string" || typeof value === "number") return value;
  return [writeJson(value)];
}

function rangeOf(table: string): IDBKeyRange {
  return IDBKeyRange.bound([table], [`${table}\u0000`], false, true);
}
