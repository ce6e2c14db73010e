/**
 * Repair: find the rows of a replica that are not the hub's, and fetch just those.
 *
 *     own sums ─┐
 *               ├─► ranges that differ ─► lists of both sides ─► keys ─► rows ─► inbox
 *     hub's sums┘
 *
 * Twin of `src/reunite/replica/repair.py`, which also fetches a table whole where most rows differ.
 * The rule: the hub's images are compared; of a row with pending changes the base, not what is
 * shown. The pull that follows shows what was found; the outbox is not touched.
 */

import {
  differingRanges,
  keyHash,
  type RangeSum,
  type RowDigest,
  rangeSums,
  rowDigest,
} from "../core/digest.js";
import { keyText } from "../core/key.js";
import type { Table } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";
import { PROTOCOL_VERSION, type TablePage } from "../protocol/messages.js";
import type { Conversation } from "./conversation.js";
import { Inbox } from "./inbox.js";
import { type Place, placeOf, sourceOf } from "./pending.js";
import type { State } from "./state.js";
import type { Store, Tx } from "./store.js";

// Rows that a range should have, and digits of a prefix at most.
const RANGE_ROWS_AIM = 256;
const DIGITS_MAX = 3;
const KEYS_MAX = 5_000;

// Rows that are hashed before the page gets a turn.
const ROWS_AT_ONCE = 500;

interface RepairAnswer {
  readonly cursor: string;
  readonly stamp: string;
  readonly is_stale?: boolean;
  readonly rows?: readonly number[];
  readonly sums?: readonly string[];
  readonly keys?: readonly Key[];
  readonly hashes?: readonly string[];
  readonly page?: TablePage | null;
  readonly taken?: number;
  readonly next?: Key | null;
}

interface OwnRow extends RowDigest {
  readonly key: Key;
}

class Stale extends Error {}

/** Compares tables of one replica with the hub's. */
export class Repair {
  #cursor = "";

  readonly #store: Store;
  readonly #hub: Conversation;
  readonly #nowMs: () => number;

  constructor(store: Store, hub: Conversation, nowMs: () => number) {
    this.#store = store;
    this.#hub = hub;
    this.#nowMs = nowMs;
  }

  /** Compare these tables and put the rows that differ into the inbox; how many. Null if the hub's
   * log does not reach back to this replica's cursor: the next pull brings every row. */
  async gather(names: readonly string[]): Promise<number | null> {
    const [state, tables] = await this.#store.read(async (tx) => [tx.state, tx.tables] as const);
    if (state.cursor === null) return null;
    this.#cursor = state.repaired ?? state.cursor;
    let found = 0;
    try {
      for (const name of names) {
        const table = tables.get(name);
        if (table === undefined) continue;
        const keys = await this.#differing(state, table);
        await this.#fetch(state, table, keys);
        found += keys.length;
      }
    } catch (error) {
      if (error instanceof Stale) return null;
      throw error;
    }
    return found;
  }

  async #differing(state: State, table: Table): Promise<Key[]> {
    const own = await this.#digests(table);
    let digits = 0;
    while (digits < DIGITS_MAX && own.length > RANGE_ROWS_AIM * 16 ** digits) digits += 1;
    const prefixes = [...Array(16 ** digits).keys()].map((i) =>
      digits === 0 ? "" : i.toString(16).padStart(digits, "0"),
    );
    const ours = rangeSums(own, prefixes).map((range) => ({ ...range, sum: range.sum.slice(16) }));
    const ranges = new Set(
      differingRanges(ours, await this.#hubSums(state, table, digits, prefixes)),
    );
    if (ranges.size === 0) return [];
    const waiting = new Map<string, OwnRow>();
    for (const row of own) {
      if (ranges.has(row.key_hash.slice(0, digits))) waiting.set(row.key_hash, row);
    }
    const found = new Map<string, Key>();
    const note = (key: Key) => found.set(keyText(key), key);
    for await (const answer of this.#askThrough(state, table, "list", { prefixes: [...ranges] })) {
      (answer.keys ?? []).forEach((key, index) => {
        const hash = keyHash(table, key);
        const mine = waiting.get(hash);
        waiting.delete(hash);
        if (mine?.row_hash.startsWith(answer.hashes![index]!)) return;
        note(key);
        if (mine !== undefined) note(mine.key);
      });
    }
    for (const row of waiting.values()) note(row.key);
    return [...found.values()];
  }

  async #hubSums(
    state: State,
    table: Table,
    digits: number,
    prefixes: readonly string[],
  ): Promise<RangeSum[]> {
    const rows = prefixes.map(() => 0);
    const sums = prefixes.map(() => 0n);
    for await (const answer of this.#askThrough(state, table, "sums", { digits })) {
      prefixes.forEach((_, index) => {
        rows[index]! += answer.rows![index]!;
        sums[index]! += BigInt(`0x${answer.sums![index]!}`);
      });
    }
    return prefixes.map((prefix, index) => {
      const sum = BigInt.asUintN(64, sums[index]!).toString(16).padStart(16, "0");
      return { prefix, rows: rows[index]!, sum };
    });
  }

  /** The digests of the hub's images that this replica has. */
  async #digests(table: Table): Promise<OwnRow[]> {
    const rows = await this.#store.read((tx) => ownRows(tx, table));
    const found: OwnRow[] = [];
    for (const [index, row] of rows.entries()) {
      if (index % ROWS_AT_ONCE === ROWS_AT_ONCE - 1) await turn();
      found.push({ key: table.keyOf(row), ...rowDigest(table, row) });
    }
    return found;
  }

  /** What the hub has under these keys, into the inbox. */
  async #fetch(state: State, table: Table, keys: readonly Key[]): Promise<void> {
    let rest = keys;
    while (rest.length > 0) {
      const answer = await this.#ask(state, table, "rows", { keys: rest.slice(0, KEYS_MAX) });
      await this.#store.write(async (tx) => {
        const schemas = Object.fromEntries([...tx.tables.values()].map((t) => [t.name, t.version]));
        const { cursor, stamp, page } = { ...answer, cursor: tx.state.cursor ?? "" };
        await new Inbox(tx, this.#nowMs()).store({ cursor, stamp, schemas, tables: [page!] });
        tx.state.repaired = answer.cursor;
      });
      rest = rest.slice(Math.max(1, answer.taken ?? 0));
    }
  }

  async *#askThrough(
    state: State,
    table: Table,
    ask: string,
    more: object,
  ): AsyncGenerator<RepairAnswer> {
    let after: Key | null = null;
    do {
      const answer: RepairAnswer = await this.#ask(state, table, ask, { ...more, after });
      yield answer;
      after = answer.next ?? null;
    } while (after !== null);
  }

  async #ask(state: State, table: Table, ask: string, more: object): Promise<RepairAnswer> {
    const { replica, tables, where } = state;
    const answer = await this.#hub.call<RepairAnswer>("repair", {
      protocol: PROTOCOL_VERSION,
      replica,
      cursor: this.#cursor,
      tables,
      where,
      table: table.name,
      ask,
      ...more,
    });
    if (answer.is_stale) throw new Stale();
    this.#cursor = answer.cursor;
    return answer;
  }
}

/** The rows of a table as the hub last said they were. */
async function ownRows(tx: Tx, table: Table): Promise<Row[]> {
  const images = new Map<Place, Row | null>();
  for (const base of await tx.bases()) images.set(base.place, base.row);
  for (const pending of await tx.outbox()) {
    const source = placeOf(pending.table, sourceOf(pending));
    if (!images.has(source)) images.set(source, pending.op === "insert" ? null : pending.old);
    const target = placeOf(pending.table, pending.key);
    if (!images.has(target)) images.set(target, null);
  }
  const free = (await tx.rows(table)).filter(
    (row) => images.size === 0 || !images.has(placeOf(table.name, table.keyOf(row))),
  );
  const own = [...images].filter(([place]) => place.startsWith(`${table.name}\u0000`));
  return [...free, ...own.map(([, row]) => row).filter((row) => row !== null)];
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
