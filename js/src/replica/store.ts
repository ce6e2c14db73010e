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

import { writeJson } from "../core/json_text.js";
import { type Table, type Tables, tablesOf } from "../core/schema.js";
import type { Key, Row, Value } from "../core/values.js";
import { isError, ReuniteError } from "../errors.js";
import type { Page } from "../protocol/messages.js";
import type { Pending, Place } from "./pending.js";
import type { ConflictRecord, ParkedRecord } from "./records.js";
import { newState, type State } from "./state.js";

const LAYOUT_VERSION = 1;
const BY_ID: IDBObjectStoreParameters = { keyPath: "id", autoIncrement: true };
const STORES: Readonly<Record<string, IDBObjectStoreParameters>> = {
  rows: {},
  outbox: { keyPath: "n" },
  base: { keyPath: "place" },
  inbox: { autoIncrement: true },
  conflicts: BY_ID,
  parked: BY_ID,
  state: {},
};

// Rows that are written, and read, before the browser gets a turn: far less than a frame.
const ROWS_AT_ONCE = 200;
const ROWS_READ_AT_ONCE = 2_000;

/** The hub's image of a row with pending changes. */
export interface Base {
  readonly place: Place;
  readonly row: Row | null;
  readonly isEvicted: boolean;
}

/** One replica's database. */
export class Store {
  #closed: ReuniteError | null = null;
  readonly #database: IDBDatabase;
  readonly #durability: IDBTransactionDurability;

  private constructor(database: IDBDatabase, durability: IDBTransactionDurability) {
    this.#database = database;
    this.#durability = durability;
  }

  /** Open, or make, the database of this name. `onLost` is called if the browser takes it away.
   * Throws `no-storage` where the browser gives none. */
  static async open(
    name: string,
    durability: IDBTransactionDurability,
    onLost: () => void,
  ): Promise<Store> {
    const database = await opened(databaseName(name)).catch((cause) => {
      const message = `The browser opens no database: ${cause?.message ?? cause}`;
      throw isError(translated(cause))
        ? translated(cause)
        : new ReuniteError("no-storage", message, { cause });
    });
    database.onclose = onLost;
    // Somebody deletes the database, or a newer release opens it: let go.
    database.onversionchange = () => {
      database.close();
      onLost();
    };
    return new Store(database, durability);
  }

  /** Look at a state that stays as it is meanwhile. */
  read<Result>(look: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.#run("readonly", look);
  }

  /** Change something: all of it happens, or nothing if `change` throws. */
  write<Result>(change: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.#run("readwrite", change);
  }

  /** Whoever uses it from now on hears why not. */
  close(why: ReuniteError): void {
    this.#closed = why;
    this.#database.close();
  }

  async #run<Result>(mode: IDBTransactionMode, work: (tx: Tx) => Promise<Result>): Promise<Result> {
    if (this.#closed) throw this.#closed;
    let inner: IDBTransaction | null = null;
    try {
      inner = this.#database.transaction(Object.keys(STORES), mode, {
        durability: this.#durability,
      });
      const done = ended(inner);
      const known = await settled<State | undefined>(inner.objectStore("state").get("state"));
      const tx = new Tx(inner, known ?? newState());
      const result = await work(tx);
      if (mode === "readwrite") inner.objectStore("state").put(tx.state, "state");
      await done;
      return result;
    } catch (error) {
      try {
        inner?.abort();
      } catch {
        // It has ended by itself.
      }
      throw translated(inner?.error ?? error);
    }
  }
}

/** The name that a replica's database has among all of an origin. */
export function databaseName(name: string): string {
  return `reunite:${name}`;
}

async function opened(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, LAYOUT_VERSION);
  request.onupgradeneeded = () => {
    for (const [store, how] of Object.entries(STORES)) request.result.createObjectStore(store, how);
  };
  return settled(request);
}

function settled<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The end of a transaction; whoever does not wait for it hears of a failure elsewhere. */
function ended(inner: IDBTransaction): Promise<void> {
  const end = new Promise<void>((resolve, reject) => {
    inner.oncomplete = () => resolve();
    inner.onabort = () => reject(inner.error ?? new DOMException("", "AbortError"));
  });
  end.catch(() => {});
  return end;
}

function translated(error: unknown): unknown {
  if (!(error instanceof DOMException)) return error;
  if (error.name === "QuotaExceededError") {
    return new ReuniteError("storage-full", "The browser has no room for more: free some.", {
      cause: error,
    });
  }
  if (error.name === "InvalidStateError" || error.name === "NotFoundError") {
    return lost(error);
  }
  return error;
}

/** The browser has taken a database away. */
export function lost(cause?: unknown): ReuniteError {
  const message = "The browser threw this replica's database away: connect again.";
  return new ReuniteError("storage-lost", message, { cause });
}

/** One transaction. `state` is written back when a writing one ends. */
export class Tx {
  #known: Tables | null = null;

  readonly #inner: IDBTransaction;

  constructor(
    inner: IDBTransaction,
    readonly state: State,
  ) {
    this.#inner = inner;
  }

  /** The tables that rows are shown in. */
  get tables(): Tables {
    this.#known ??= tablesOf(this.state.schemas);
    return this.#known;
  }

  /** The hub's tables are others now. */
  forgetTables(): void {
    this.#known = null;
  }

  // -- rows ---------------------------------------------------------------------------------------

  async row(table: string, key: Key): Promise<Row | null> {
    return (await this.#get<Row | undefined>("rows", rowKey(table, key))) ?? null;
  }

  /** All rows of a table, in the order of their keys; `see` is called with a few at a time. The page
   * gets a turn between them. */
  async rows(table: Table, see: (rows: readonly Row[]) => void = () => {}): Promise<Row[]> {
    const found: Row[] = [];
    let range = rangeOf(table.name);
    const end = range.upper;
    for (;;) {
      const rows = await this.#all<Row>("rows", range, ROWS_READ_AT_ONCE);
      for (const row of rows) found.push(row);
      see(rows);
      if (rows.length < ROWS_READ_AT_ONCE) return found;
      const last = rowKey(table.name, table.keyOf(rows.at(-1)!));
      range = IDBKeyRange.bound(last, end, true, true);
    }
  }

  async largestKey(table: string): Promise<Value> {
    const cursor = await settled(this.#store("rows").openCursor(rangeOf(table), "prev"));
    return cursor === null ? null : ((cursor.key as Value[])[1] ?? null);
  }

  clearTable(table: string): void {
    this.#store("rows").delete(rangeOf(table));
  }

  /** Delete and put rows, a few at a time so that the page stays awake. */
  async writeRows(table: Table, gone: readonly Key[], puts: readonly Row[]): Promise<void> {
    const store = this.#store("rows");
    const { name, keyPositions } = table;
    let request: IDBRequest | null = null;
    let count = 0;
    for (const key of gone) {
      request = store.delete(rowKey(name, key));
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
  }

  // -- outbox and base ----------------------------------------------------------------------------

  /** All pending changes in order of n. */
  outbox(): Promise<Pending[]> {
    return this.#all("outbox");
  }

  /** So many pending changes from a number on. */
  outboxFrom(n: number, count: number): Promise<Pending[]> {
    return this.#all("outbox", IDBKeyRange.lowerBound(n), count);
  }

  count(store: "outbox" | "parked"): Promise<number> {
    return settled(this.#store(store).count());
  }

  putChanges(pendings: Iterable<Pending>): void {
    for (const pending of pendings) this.#store("outbox").put(pending);
  }

  removeChanges(numbers: Iterable<number>): void {
    for (const n of numbers) this.#store("outbox").delete(n);
  }

  bases(): Promise<Base[]> {
    return this.#all("base");
  }

  replaceBases(bases: readonly Base[]): void {
    this.clear("base");
    for (const base of bases) this.#store("base").put(base);
  }

  clear(store: "outbox" | "base" | "inbox"): void {
    this.#store(store).clear();
  }

  // -- inbox --------------------------------------------------------------------------------------

  addPage(page: Page): void {
    this.#store("inbox").add(page);
  }

  /** The pages that gathered, one in memory at a time. */
  async *pages(): AsyncGenerator<Page> {
    let after: IDBKeyRange | null = null;
    for (;;) {
      // Read on by key: whoever takes the page awaits other requests meanwhile.
      const cursor: IDBCursorWithValue | null = await settled(
        this.#store("inbox").openCursor(after),
      );
      if (cursor === null) return;
      after = IDBKeyRange.lowerBound(cursor.key, true);
      yield cursor.value;
    }
  }

  // -- records ------------------------------------------------------------------------------------

  conflicts(): Promise<ConflictRecord[]> {
    return this.#all("conflicts");
  }

  parked(): Promise<ParkedRecord[]> {
    return this.#all("parked");
  }

  parkedOf(id: number): Promise<ParkedRecord | undefined> {
    return this.#get("parked", id);
  }

  /** Keep a record, a new one if it has no id; its id. */
  putRecord(
    store: "conflicts" | "parked",
    record: Omit<ConflictRecord, "id"> | Omit<ParkedRecord, "id">,
  ): Promise<number> {
    return settled(this.#store(store).put(record)) as Promise<number>;
  }

  removeRecord(store: "conflicts" | "parked", id: number): void {
    this.#store(store).delete(id);
  }

  // -- requests -----------------------------------------------------------------------------------

  #store(name: string): IDBObjectStore {
    return this.#inner.objectStore(name);
  }

  #get<Result>(store: string, key: IDBValidKey): Promise<Result> {
    return settled(this.#store(store).get(key));
  }

  #all<Result>(store: string, range?: IDBKeyRange, count?: number): Promise<Result[]> {
    return settled(this.#store(store).getAll(range, count));
  }
}

/** Where a row stands. IndexedDB has no booleans among its keys, nor objects. */
function rowKey(table: string, key: Key): IDBValidKey {
  return [table, ...key.map(keyPart)] as IDBValidKey;
}

function keyPart(value: Value): unknown {
  if (typeof value === "string" || Number.isFinite(value)) return value;
  return [`${writeJson(value)}`];
}

function rangeOf(table: string): IDBKeyRange {
  return IDBKeyRange.bound([table], [`${table}\u0000`], false, true);
}
