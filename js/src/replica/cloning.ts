/**
 * The first filling of a store: an identity, the hub's tables, and every row of them.
 *
 *     register ─► page, page, … checkpoint: the replica is ready
 *
 * Twin of `src/reunite/replica/cloning.py`.
 * The rule: rows go straight into the store, each page in a transaction with its cursor; so a clone
 * that broke off goes on from its last page.
 */

import { isKept, tablesOf } from "../core/schema.js";
import { isError, LOST_IDENTITY } from "../errors.js";
import type { Page, Wheres } from "../protocol/messages.js";
import type { Conversation } from "./conversation.js";
import { said } from "./generations.js";
import { aligned } from "./inbox.js";
import { adopt } from "./state.js";
import type { Store } from "./store.js";
import type { Device } from "./writing.js";

export class Cloning {
  #rows = 0;

  readonly #store: Store;
  readonly #hub: Conversation;
  readonly #device: Device;

  constructor(store: Store, hub: Conversation, device: Device) {
    this.#store = store;
    this.#hub = hub;
    this.#device = device;
  }

  /** Become a replica: an identity, key blocks, tables from the hub's schema. */
  async register(url: string, tables: readonly string[] | null, where: Wheres): Promise<void> {
    const answer = await this.#hub.register({ tables, where });
    await this.#store.write(async ({ state }) => {
      if (state.replica) return; // another tab was here
      Object.assign(state, { url, tables, where, schemas: answer.tables });
      adopt(state, answer);
    });
  }

  /** Read pages until the first checkpoint. */
  async fill(): Promise<void> {
    for (;;) {
      try {
        const state = await this.#store.read(async (tx) => tx.state);
        if (state.isReady) return;
        const page = await this.#hub.pull(state);
        const schemas = await this.#hub.schemasFor(page, state);
        await this.#keep(page, state.cursor, schemas);
      } catch (error) {
        const isCursorBad = isError(error, "bad-request") && error.details.path === "cursor";
        if (isError(error, "schema-changed")) this.#hub.tryAgain(error);
        else if (isCursorBad || isError(error, ...LOST_IDENTITY, "view-changed")) {
          await this.#beginAnew(error);
        } else throw error;
      }
    }
  }

  async #keep(
    page: Page,
    after: string | null,
    schemas: Awaited<ReturnType<Conversation["schemasFor"]>>,
  ): Promise<void> {
    await this.#store.write(async (tx) => {
      const { state } = tx;
      if (state.cursor !== after || state.isReady) return; // another tab was here
      if (schemas !== null) {
        const now = tablesOf(schemas);
        for (const table of tx.tables.values()) {
          if (isKept(table, now.get(table.name))) continue;
          tx.clearTable(table.name);
        }
        state.schemas = schemas;
        state.revision = page.revision ?? "";
        tx.forgetTables();
      }
      if (page.reset) {
        for (const name of tx.tables.keys()) tx.clearTable(name);
        state.generations = said(page);
      }
      for (const part of page.tables ?? []) {
        const table = tx.tables.get(part.table);
        if (table === undefined) continue;
        const rows = aligned(table, part);
        const gone = [...(part.deletes ?? []), ...(part.evicts ?? [])];
        await tx.writeRows(table, gone, rows);
        this.#rows += rows.length;
      }
      state.cursor = page.cursor;
      if (!page.checkpoint) return;
      state.checkpoint = page.cursor;
      state.mark = page.mark ?? 0;
      state.isReady = true;
      state.syncedMs = this.#device.nowMs();
    });
    this.#hub.tell("clone", this.#rows, page.progress?.rows_total ?? null);
  }

  /** Another identity, and no cursor: the first page then empties the tables. */
  async #beginAnew(error: unknown): Promise<void> {
    this.#hub.tryAgain(error);
    const answer = await this.#hub.register(await this.#store.read(async (tx) => tx.state));
    await this.#store.write(async ({ state }) => {
      state.cursor = null;
      adopt(state, answer);
    });
  }
}
