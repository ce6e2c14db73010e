/**
 * Local writes: rows change and the outbox notes it, in one transaction.
 *
 * The Python replica captures writes with triggers and numbers them later; here every write comes
 * through this module, so a change has its number and its stamp at once.
 * The rule: what one call writes is one group, which the hub takes whole or not at all.
 */

import { defaultOf } from "../core/defaults.js";
import { faultOf } from "../core/faults.js";
import { keyText } from "../core/key.js";
import type { Table } from "../core/schema.js";
import { nextStamp, parseStamp, type Stamp, stampText } from "../core/stamp.js";
import { integerOf, isWrittenAlike, type Key, type Row, type Value } from "../core/values.js";
import { badRequest, ReuniteError } from "../errors.js";
import { freeKey } from "./giving.js";
import { Applied } from "./inbox.js";
import { noteKey } from "./keys.js";
import type { Pending } from "./pending.js";
import type { State } from "./state.js";
import type { Tx } from "./store.js";

/** How far a stamp of ours may be ahead of the clock: clocks are set back a little now and then. */
const CLOCK_AHEAD_MS_MAX = 60_000;

/** One wish; values are in wire form, by column. */
export type Write =
  | { readonly op: "insert"; readonly table: string; readonly values: WireValues }
  | {
      readonly op: "update";
      readonly table: string;
      readonly key: Key;
      readonly values: WireValues;
    }
  | { readonly op: "delete"; readonly table: string; readonly key: Key };
export type WireValues = Readonly<Record<string, Value>>;

/** What a device gives: time and random ids. */
export interface Device {
  nowMs(): number;
  newId(): string;
}

/** What writes need of a transaction, or of the draft of one. */
export type Ground = Pick<Tx, "state" | "tables" | "row" | "writeRows">;

/** Carries out some writes as one group. */
export class Writer {
  readonly done = new Applied();
  readonly #pendings: Pending[] = [];
  readonly #stamp: string;
  readonly #nowMs: number;

  readonly #tx: Ground & Partial<Pick<Tx, "putChanges">>;
  readonly #device: Device;

  constructor(tx: Ground & Partial<Pick<Tx, "putChanges">>, device: Device) {
    this.#tx = tx;
    this.#device = device;

    this.#nowMs = device.nowMs();
    const stamp = nextStamp(lastStamp(tx.state, this.#nowMs), [], this.#nowMs);
    this.#stamp = stampText(stamp);
  }

  /** Do one write; the key of its row afterwards. */
  async write(write: Write): Promise<Key> {
    const table = this.#tx.tables.get(write.table);
    if (table === undefined) {
      throw new ReuniteError("unknown-table", `This replica has no table '${write.table}'.`);
    }
    if (write.op === "insert") return this.#insert(table, write.values);
    const old = await this.#tx.row(table.name, write.key);
    if (old === null) {
      const message = `There is no row ${keyText(write.key)} in '${table.name}'.`;
      throw new ReuniteError("no-row", message);
    }
    if (write.op === "update") return this.#update(table, write.key, old, write.values);
    await this.#note(table, { op: "delete", key: write.key, oldKey: null, old, row: null });
    return write.key;
  }

  /** Put what was written into the outbox. */
  async finish(): Promise<Applied> {
    if (this.#pendings.length > 0) {
      this.#tx.putChanges?.(this.#pendings);
      this.#tx.state.stamp = this.#stamp;
      this.#tx.state.writes += 1;
    }
    return this.done;
  }

  async #insert(table: Table, given: WireValues): Promise<Key> {
    for (const name of Object.keys(given)) placeIn(table, name);
    const now = new Date(this.#nowMs);
    const values = new Map<string, Value>(Object.entries(given));
    for (const column of table.columns) {
      if (values.has(column.name)) continue;
      if (table.key.includes(column.name)) {
        values.set(column.name, await this.#newKey(table, column.name));
        continue;
      }
      const value = defaultOf(column, now);
      if (value === undefined) {
        const message = `Give a value for '${column.name}': only the hub's database can work out its default ${column.default}.`;
        throw badRequest(message, column.name);
      }
      values.set(column.name, value);
    }
    const row = table.names.map((name) => values.get(name)!);
    refuseFaults(table, row, [...row.keys()]);
    const key = table.keyOf(row);
    if ((await this.#tx.row(table.name, key)) !== null) {
      throw new ReuniteError("key-exists", `There is a row ${keyText(key)} in '${table.name}'.`);
    }
    if (table.hasGeneratedKey) {
      const blocks = noteKey(this.#tx.state.blocks, table.name, key);
      if (blocks === null) this.#tx.state.hasMisplaced = !isGiven(this.#tx.state, table.name, key);
      else this.#tx.state.blocks = blocks;
    }
    await this.#note(table, { op: "insert", key, oldKey: null, old: null, row });
    return key;
  }

  async #update(table: Table, key: Key, old: Row, given: WireValues): Promise<Key> {
    const row = [...old];
    const changed: number[] = [];
    for (const [name, value] of Object.entries(given)) {
      const place = placeIn(table, name);
      if (isWrittenAlike(old[place]!, value)) continue;
      row[place] = value;
      changed.push(place);
    }
    if (changed.length === 0) return key;
    refuseFaults(table, row, changed);
    const target = table.keyOf(row);
    const hasMoved = keyText(target) !== keyText(key);
    if (hasMoved && (await this.#tx.row(table.name, target)) !== null) {
      throw new ReuniteError("key-exists", `There is a row ${keyText(target)} in '${table.name}'.`);
    }
    await this.#note(table, { op: "update", key: target, oldKey: hasMoved ? key : null, old, row });
    return target;
  }

  async #newKey(table: Table, column: string): Promise<Value> {
    if (table.hasGeneratedKey) {
      const key = await freeKey(this.#tx, table.name);
      if (key === null) {
        const message = `No key is left to give in '${table.name}' before the next sync.`;
        throw new ReuniteError("keys-used-up", message);
      }
      return key[0]!;
    }
    const { type } = table.column(column);
    if (table.key.length === 1 && (type === "text" || type === "uuid" || type === "any")) {
      return uuid7(this.#nowMs, this.#device.newId());
    }
    const message = `Give a value for '${column}', which is in the key of '${table.name}'.`;
    throw badRequest(message, column);
  }

  async #note(
    table: Table,
    change: Pick<Pending, "op" | "key" | "oldKey" | "old" | "row">,
  ): Promise<void> {
    const { state } = this.#tx;
    const n = state.nextN;
    state.nextN += 1;
    this.#pendings.push({
      ...change,
      uid: this.#device.newId(),
      n,
      group: this.#pendings[0]?.n ?? n,
      table: table.name,
      stamp: this.#stamp,
      mark: state.mark,
      covered: state.coveredN,
      atMs: this.#nowMs,
      outcome: null,
    });
    const source = change.oldKey ?? change.key;
    const isGone = change.row === null || change.oldKey !== null;
    await this.#tx.writeRows(
      table,
      isGone ? [source] : [],
      change.row === null ? [] : [change.row],
    );
    this.done.note(table.name, source);
    this.done.note(table.name, change.key);
  }
}

/** The newest stamp this replica issued or has heard of, as one of its own. One that it issued
 * while its clock stood ahead is forgotten when the clock is right again. */
function lastStamp(state: State, nowMs: number): Stamp {
  const nothing: Stamp = { wallMs: 0, counter: 0, replica: "" };
  const issued = state.stamp ? parseStamp(state.stamp) : nothing;
  const heard = state.heardStamp ? parseStamp(state.heardStamp) : nothing;
  const isBelieved = issued.wallMs <= nowMs + CLOCK_AHEAD_MS_MAX;
  const isLater = isBelieved && stampText(issued) > stampText(heard);
  return { ...(isLater ? issued : heard), replica: state.replica };
}

function isGiven(state: State, table: string, key: Key): boolean {
  const number = Number(integerOf(key[0]!));
  return state.granted.some((b) => b.table === table && b.first <= number && number <= b.last);
}

/** Where a column stands in a row. Throws `bad-request` for one that there is not. */
export function placeIn(table: Table, name: string): number {
  const place = table.position.get(name);
  if (place !== undefined) return place;
  const message = `The table '${table.name}' has no column '${name}', but ${table.names.join(", ")}.`;
  throw badRequest(message, name);
}

function refuseFaults(table: Table, row: Row, places: readonly number[]): void {
  for (const place of places) {
    const column = table.columns[place]!;
    const value = row[place]!;
    const isNeeded = column.nullable === false || table.key.includes(column.name);
    const fault = value === null && isNeeded ? "a value is needed." : faultOf(column.type, value);
    if (fault === null) continue;
    const [inside, reason] = typeof fault === "string" ? ["", fault] : fault;
    const message = `Column '${column.name}' of '${table.name}': ${reason}`;
    throw badRequest(message, column.name + inside);
  }
}

/** A UUID of version 7: its first 48 bits are the time, so that new rows come last. */
function uuid7(nowMs: number, random: string): string {
  const time = Math.max(0, nowMs).toString(16).padStart(12, "0");
  const variant = "89ab"[Number.parseInt(random[3]!, 16) % 4];
  const tail = `7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(7, 19)}`;
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-${tail}`;
}
