/**
 * Transactions: several reads and writes that happen together or not at all.
 *
 * What a transaction writes is gathered in a draft, and carried out in one transaction of IndexedDB
 * when its function has ended; so the function may wait for anything. If what it read was changed
 * meanwhile, by another tab or a page from the hub, the function runs again.
 */

import type { Table, Tables } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";
import { badRequest, ReuniteError } from "../errors.js";
import { Applied } from "../replica/inbox.js";
import { type Place, placeOf, tableOf } from "../replica/pending.js";
import type { State } from "../replica/state.js";
import type { Store, Tx } from "../replica/store.js";
import { type Device, type Ground, type Write, Writer } from "../replica/writing.js";
import { type Forms, type KeyLike, type RowObject, wireKey, wireValues } from "./forms.js";
import { type Condition, chosen, EVERYTHING, inOrder } from "./query.js";

// How often a function that was disturbed runs before its transaction gives up.
const TRIES_MAX = 10;

class Disturbed extends Error {}

/** Run a function as one transaction; what it returned, and what changed. */
export async function runTransaction<Result>(
  store: Store,
  forms: Forms,
  device: Device,
  work: (tx: Transaction) => Promise<Result>,
): Promise<{ result: Result; done: Applied }> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    try {
      const draft = await Draft.begin(store);
      const transaction = new Transaction(draft, forms, device);
      const result = await work(transaction);
      return { result, done: await transaction.commit(store) };
    } catch (error) {
      if (!(error instanceof Disturbed)) throw error;
    }
  }
  const message = "What the transaction reads changes all the time: read less, or try again.";
  throw new ReuniteError("busy", message);
}

/** Carry out a single write at once. Its key afterwards, and what changed. */
export function writeAtOnce(
  store: Store,
  device: Device,
  write: (table: (name: string) => Table) => Write,
): Promise<{ key: Key; table: Table; done: Applied }> {
  return store.write(async (tx) => {
    const wanted = write((name) => tableIn(tx.tables, name));
    const writer = new Writer(tx, device);
    const key = await writer.write(wanted);
    return { key, table: tableIn(tx.tables, wanted.table), done: await writer.finish() };
  });
}

/** The store as one transaction sees it: what it wrote on top of what was there when it began. */
class Draft implements Ground {
  readonly overlay = new Map<Place, Row | null>();

  readonly #store: Store;
  readonly #version: number;

  private constructor(
    store: Store,
    readonly state: State,
    readonly tables: Tables,
    version: number,
  ) {
    this.#store = store;
    this.#version = version;
  }

  static begin(store: Store): Promise<Draft> {
    return store.read(async (tx) => new Draft(store, tx.state, tx.tables, tx.state.writes));
  }

  /** Read, if nothing has changed since this draft began. */
  look<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.#store.read((tx) => {
      this.check(tx);
      return work(tx);
    });
  }

  check(tx: Tx): void {
    if (tx.state.writes !== this.#version) throw new Disturbed();
  }

  async row(table: string, key: Key): Promise<Row | null> {
    const known = this.overlay.get(placeOf(table, key));
    return known === undefined ? this.look((tx) => tx.row(table, key)) : known;
  }

  async writeRows(table: Table, gone: readonly Key[], puts: readonly Row[]): Promise<void> {
    for (const key of gone) this.overlay.set(placeOf(table.name, key), null);
    for (const row of puts) this.overlay.set(placeOf(table.name, table.keyOf(row)), row);
  }

  async rows(table: Table): Promise<readonly Row[]> {
    const stored = await this.look((tx) => tx.rows(table));
    const own = [...this.overlay].filter(([place]) => tableOf(place) === table.name);
    if (own.length === 0) return stored;
    const rows = new Map(stored.map((row) => [placeOf(table.name, table.keyOf(row)), row]));
    for (const [place, row] of own) {
      if (row === null) rows.delete(place);
      else rows.set(place, row);
    }
    return inOrder(table, [...rows.values()]);
  }
}

/** What the function of a transaction is given. */
export class Transaction {
  readonly #writes: Write[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #isOver = false;
  readonly #writer: Writer;

  readonly #draft: Draft;
  readonly #forms: Forms;
  readonly #device: Device;

  constructor(draft: Draft, forms: Forms, device: Device) {
    this.#draft = draft;
    this.#forms = forms;
    this.#device = device;

    this.#writer = new Writer(draft, device);
  }

  /** The row under this key, with what this transaction wrote; null if there is none. */
  async get<T extends object = RowObject>(table: string, key: KeyLike): Promise<T | null> {
    const known = this.#table(table);
    const row = await this.#draft.row(table, wireKey(known, key));
    return row === null ? null : (this.#forms.object(known, row) as T);
  }

  /** The rows for which a condition holds, with what this transaction wrote. */
  async where<T extends object = RowObject>(table: string, condition: Condition<T>): Promise<T[]> {
    const known = this.#table(table);
    const query = { ...EVERYTHING, conditions: [condition as Condition<RowObject>] };
    return chosen(known, this.#forms, query, await this.#draft.rows(known)) as T[];
  }

  all<T extends object = RowObject>(table: string): Promise<T[]> {
    return this.where<T>(table, {});
  }

  /** Make a row; its key, which is made here if it is left out and the table allows it. */
  create(table: string, values: object): Promise<unknown>;
  create(table: string, key: KeyLike, values: object): Promise<unknown>;
  async create(table: string, ...given: [object] | [KeyLike, object]): Promise<unknown> {
    const known = this.#table(table);
    const write = insertOf(known, given);
    return this.#inTurn(async () => {
      const key = await this.#writer.write(write);
      // The row with its defaults and its key, so that `commit` makes the same one.
      const row = (await this.#draft.row(table, key))!;
      const values = Object.fromEntries(known.names.map((name, index) => [name, row[index]!]));
      this.#writes.push({ op: "insert", table, values });
      return this.#forms.key(known, key);
    });
  }

  /** Change some columns of a row. Throws `no-row`. */
  async update(table: string, key: KeyLike, values: object): Promise<void> {
    await this.#write(updateOf(this.#table(table), key, values));
  }

  /** Delete a row. Throws `no-row`. */
  async delete(table: string, key: KeyLike): Promise<void> {
    await this.#write({ op: "delete", table, key: wireKey(this.#table(table), key) });
  }

  /** Carry out what was gathered; called when the function has ended. */
  async commit(store: Store): Promise<Applied> {
    await this.#last;
    this.#isOver = true;
    if (this.#writes.length === 0) return new Applied();
    return store.write(async (tx) => {
      this.#draft.check(tx);
      const writer = new Writer(tx, this.#device);
      for (const write of this.#writes) await writer.write(write);
      return writer.finish();
    });
  }

  #write(write: Write): Promise<void> {
    return this.#inTurn(async () => {
      await this.#writer.write(write);
      this.#writes.push(write);
    });
  }

  /** Writes happen one after the other, in the order of the calls, whether the page waits or not. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#isOver) throw badRequest("The transaction has ended: await each of its calls.");
    const next = this.#last.then(work);
    this.#last = next.catch(() => {});
    return next;
  }

  #table(name: string): Table {
    return tableIn(this.#draft.tables, name);
  }
}

export function insertOf(table: Table, given: [object] | [KeyLike, object]): Write {
  if (given.length === 1)
    return { op: "insert", table: table.name, values: wireValues(table, given[0]) };
  const [first, rest] = given;
  const key = table.key.length > 1 && Array.isArray(first) ? first : [first];
  const own = Object.fromEntries(table.key.map((name, index) => [name, key[index]]));
  return { op: "insert", table: table.name, values: wireValues(table, { ...rest, ...own }) };
}

export function updateOf(table: Table, key: KeyLike, values: object): Write {
  const known = { key: wireKey(table, key), values: wireValues(table, values) };
  return { op: "update", table: table.name, ...known };
}

/** The table of this name. Throws `unknown-table`. */
export function tableIn(tables: Tables, name: string): Table {
  const table = tables.get(name);
  if (table !== undefined) return table;
  const known = [...tables.keys()].join(", ") || "none";
  throw new ReuniteError("unknown-table", `This replica has no table '${name}', but ${known}.`);
}
