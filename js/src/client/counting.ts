/**
 * Counting: what a status says of the replica itself, looked up again after each change.
 */

import type { Tables } from "../core/schema.js";
import type { Wheres } from "../protocol/messages.js";
import type { Store } from "../replica/store.js";
import type { Status } from "./status.js";
import { storageNow } from "./storage.js";

/** How long what was found of the storage is good. */
const STORAGE_MS = 30_000;

export class Counting {
  #storageAt = 0;
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** What is there now; what is as it was before stays the same object. */
  async counted(before: Status): Promise<Partial<Status>> {
    const found = await this.#store.read(async (tx) => ({
      pending: await tx.count("outbox"),
      parked: await tx.count("parked"),
      openConflicts: (await tx.conflicts()).filter((conflict) => conflict.isOpen).length,
      staleChoices: staleIn(tx.tables, tx.state.where),
      syncedMs: tx.state.syncedMs,
    }));
    const { syncedMs, ...counts } = found;
    let { storage, syncedAt, staleChoices } = before;
    if (performance.now() >= this.#storageAt) {
      this.#storageAt = performance.now() + STORAGE_MS;
      storage = await storageNow(storage);
    }
    if (syncedMs !== (syncedAt?.getTime() ?? 0)) syncedAt = new Date(syncedMs);
    if (String(staleChoices) !== String(counts.staleChoices)) staleChoices = counts.staleChoices;
    return { ...counts, staleChoices, syncedAt, storage };
  }
}

/** The tables whose rows were chosen by a column that they do not have, or not any more. */
function staleIn(tables: Tables, where: Wheres): string[] {
  return Object.keys(where).filter((name) => {
    const table = tables.get(name);
    return table && columnsIn(where[name]).some((column) => !table.position.has(column));
  });
}

/** The columns that an expression names; those that begin paths to other tables among them. */
function columnsIn(expression: unknown): string[] {
  const { field, not, and, or } = Object(expression);
  if (typeof field === "string") return [field.split(".")[0]!];
  return [not, and, or].flat().filter(Boolean).flatMap(columnsIn);
}
