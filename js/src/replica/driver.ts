/**
 * The driver: what a replica says to its hub, in which order, and what it does with each answer.
 *
 *     sync = push until every change has an outcome, then pull until a checkpoint with nothing more
 *
 *     push ─► renumber / another key ─► rows moved, push again
 *          ─► forked, restored, another epoch, unknown ─► new identity, push again
 *     pull ─► page ─► inbox … checkpoint ─► applied, or forked ─► new identity, push, pull again
 *
 * Twin of `src/reunite/replica/driver.py`.
 * The rule: every step is its own transaction of the store and none is open while the network is
 * waited for; so a crash at any point leaves a state from which the next sync goes on.
 */

import type { TableSchema } from "../core/schema.js";
import { isError, LOST_IDENTITY, ReuniteError } from "../errors.js";
import type { Page, Part, PushAnswer, PushRequest } from "../protocol/messages.js";
import { rare, rareNow, withRare } from "../rare/load.js";
import type { Conversation } from "./conversation.js";
import { bringsNothing } from "./conversation.js";
import { generationGaps } from "./generations.js";
import type { Applied } from "./inbox.js";
import { Inbox } from "./inbox.js";
import { keysLeft, keysLeftMin } from "./keys.js";
import { type Batch, nextBatch, requestWith } from "./sending.js";
import type { State } from "./state.js";
import type { Store, Tx } from "./store.js";
import type { Device } from "./writing.js";

/** Changes in one push, and in the first one of a sync. */
const CHANGES_AIM = 2_000;
const FIRST_BATCH = 500;
const GROWTH = 4;

/** Pushes in a row that only moved rows; more means that something else takes every key. */
const RENUMBERS_MAX = 1_000;

// Changes read from the outbox to find the next groups among.
const READ_MAX = 100_000;

/** What one sync did. */
export interface SyncReport {
  pushed: number;
  pulled: number;
  rejected: number;
  conflicts: number;
  pending: number;
}

/** One sync of one replica with its hub. The caller sees to it that there is only one at a time. */
export class Driver {
  readonly report: SyncReport = { pushed: 0, pulled: 0, rejected: 0, conflicts: 0, pending: 0 };
  #batchMax = FIRST_BATCH;
  // Of a group that goes in parts: the part sent last, and up to where the hub holds it.
  #begun: { part: Part; after: number } | null = null;
  readonly #leased = new Set<string>();

  readonly #store: Store;
  readonly #hub: Conversation;
  readonly #device: Device;
  readonly #onApplied: (applied: Applied) => void;

  constructor(
    store: Store,
    hub: Conversation,
    device: Device,
    onApplied: (applied: Applied) => void,
  ) {
    this.#store = store;
    this.#hub = hub;
    this.#device = device;
    this.#onApplied = onApplied;
  }

  /** Push, then pull. What the hub cannot take does not keep its rows from coming. */
  async sync(): Promise<SyncReport> {
    let failure: unknown = null;
    try {
      await this.push();
    } catch (error) {
      const isWayLost = isError(error, "hub-unreachable") && !error.details.hasAnswered;
      if (!isError(error) || isError(error, "not-authenticated", "no-hub") || isWayLost)
        throw error;
      failure = error;
    }
    await this.pull();
    if (failure !== null) throw failure;
    this.report.pending = await this.#store.read((tx) => tx.count("outbox"));
    return this.report;
  }

  // -- push ---------------------------------------------------------------------------------------

  /** Send the outbox until every change has an outcome. */
  async push(): Promise<void> {
    let renumbers = 0;
    this.#begun = null;
    for (;;) {
      try {
        const next = await this.#nextPush();
        if (next === null) return;
        const answer = await this.#hub.push(next.request);
        const answered = await this.#take(next, answer);
        if (answered === null) continue; // the hub holds a part
        renumbers = answered > 0 ? 0 : renumbers + 1;
        if (renumbers > RENUMBERS_MAX) {
          throw new ReuniteError("error", "The hub finds every key of this replica taken.");
        }
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #take(
    { request, batch }: { request: PushRequest; batch: Batch | null },
    answer: PushAnswer,
  ): Promise<number | null> {
    if (batch?.part && answer.staged) {
      const last = batch.pendings.at(-1)!.n;
      if (answer.staged !== last) {
        this.#hub.tryAgain(new ReuniteError("error", "The hub keeps no parts of a transaction."));
      }
      this.#begun = { part: batch.part, after: answer.staged };
      return null;
    }
    this.#begun = null;
    await this.#change(async (inbox, { state }) => {
      // Another tab may have taken another identity meanwhile.
      if (state.replica !== request.replica) return;
      await inbox.takeAnswer(answer, Object.keys(request.lease));
    });
    this.#batchMax = Math.min(this.#batchMax * GROWTH, CHANGES_AIM);
    const answered = Math.max(0, answer.last_n - answer.first_n + 1);
    this.report.pushed += answered;
    this.#hub.tell("push", this.report.pushed);
    return answered;
  }

  async #recover(error: unknown): Promise<void> {
    if (isError(error, ...LOST_IDENTITY)) {
      this.#begun = null;
      // Tables of other shapes than the outbox is written in: those come first.
      if (await this.#takeNewIdentity(error)) await this.#pullPages();
    } else if (isError(error, "limit-exceeded")) {
      await this.#makeSmaller(error);
    } else if (isError(error, "schema-changed", "unknown-table")) {
      this.#begun = null;
      this.#hub.tryAgain(error);
      // The page that brings the new schema rewrites the outbox for it.
      await this.#pullPages();
    } else {
      await this.#readAnew(error, "checkpoint");
    }
  }

  /** The next push; null if there is nothing to send or to ask for. */
  #nextPush(): Promise<{ request: PushRequest; batch: Batch | null } | null> {
    return this.#change(async (inbox, tx) => {
      if (this.#begun === null) await inbox.rearrange();
      const { state, tables } = tx;
      const lease = new Map<string, number>();
      const lacking = new Map(Object.entries(state.missingKeys));
      for (const table of tables.values()) {
        const missing = lacking.get(table.name);
        const isNew = missing !== undefined || !this.#leased.has(table.name);
        const isLow = keysLeft(state.blocks, table.name) < keysLeftMin(table);
        if (!table.hasGeneratedKey || !isNew || !isLow) continue;
        lease.set(table.name, missing ?? 0);
        this.#leased.add(table.name);
      }
      const batch = await this.#nextBatch(tx);
      if (batch === null && lease.size === 0) return null;
      return { request: requestWith(state, tables, batch, Object.fromEntries(lease)), batch };
    });
  }

  async #nextBatch(tx: Tx): Promise<Batch | null> {
    // Inserts that wait for keys go out when they have them.
    if (Object.keys(tx.state.missingKeys).length > 0) return null;
    const after = this.#begun?.after ?? tx.state.knownN;
    const found = await tx.outboxFrom(after + 1, READ_MAX);
    const waiting = found.filter((p) => p.outcome === null && tx.tables.has(p.table));
    if (this.#begun === null) return nextBatch(waiting, this.#batchMax, () => this.#device.newId());
    const group = this.#begun.part.begins;
    return rareNow().nextPart(
      waiting.filter((p) => p.group === group),
      this.#begun.part,
    );
  }

  /** A push was too large. Try its first group alone; what is too large by itself, or in parts, is
   * parked, so that the rest goes on. */
  async #makeSmaller(error: ReuniteError): Promise<void> {
    if (this.#batchMax > 1 && this.#begun === null) {
      this.#batchMax = 1;
      return;
    }
    this.#begun = null;
    await this.#change((inbox, tx) => rareNow().giveUpFirst(inbox, tx, READ_MAX, error));
    this.#batchMax = FIRST_BATCH;
  }

  // -- pull ---------------------------------------------------------------------------------------

  /** Read pages until a checkpoint with nothing more behind it. */
  async pull(): Promise<void> {
    for (;;) {
      try {
        // After a new identity the hub must say what it already has before a page that includes it
        // may be shown.
        const { resendN, knownN } = await this.#state();
        if (resendN > knownN) await this.push();
        const page = await this.#pullPages();
        if (await this.#heal(page)) return;
      } catch (error) {
        if (!isError(error, ...LOST_IDENTITY)) throw error;
        await this.#takeNewIdentity(error);
      }
    }
  }

  /** Compare the tables whose log had a gap; whether there were none. */
  async #heal(page: Page): Promise<boolean> {
    const gaps = generationGaps(await this.#state(), page);
    if (Object.keys(gaps).length === 0) return true;
    const { heal } = await rare();
    await heal(this.#store, this.#hub, this.#device, gaps);
    return false;
  }

  /** Read pages until a checkpoint with nothing more behind it; that page. */
  async #pullPages(): Promise<Page> {
    for (;;) {
      const state = await this.#state();
      try {
        const page = await this.#hub.pull(state);
        if (bringsNothing(page, state)) return page;
        const schemas = await this.#hub.schemasFor(page, state);
        const hasTaken = await this.keep(page, state.cursor, schemas);
        if (hasTaken && page.checkpoint && !page.more) return page;
      } catch (error) {
        await this.#readAnew(error, "cursor");
      }
    }
  }

  /** Let a page that follows the cursor `after` gather, or show what gathered; false if another tab
   * has moved on meanwhile. `schemas` are the hub's, if they are others. */
  keep(
    page: Page,
    after: string | null,
    schemas: readonly TableSchema[] | null = null,
  ): Promise<boolean> {
    return this.#change(async (inbox, { state }) => {
      if (state.cursor !== after) return false;
      state.nextSchemas = schemas;
      state.nextRevision = schemas === null ? "" : (page.revision ?? "");
      if (!page.checkpoint) {
        await inbox.store(page);
        state.cursor = page.cursor;
        return true;
      }
      await inbox.apply(page);
      state.syncedMs = this.#device.nowMs();
      return true;
    });
  }

  /** Read on after what a hub says of the place at which this replica reads. Throws other errors. */
  async #readAnew(error: unknown, path: string): Promise<void> {
    const isPlace = isError(error, "bad-request") && error.details.path === path;
    if (!isPlace && !isError(error, "schema-changed", "view-changed")) throw error;
    this.#hub.tryAgain(error);
    const { readAnew } = await rare();
    await this.#change((inbox, tx) => readAnew(inbox, tx, error.code));
  }

  // -- identity -----------------------------------------------------------------------------------

  /** Register anew; the whole outbox is sent again under its old ids. Whether the hub's tables have
   * other shapes than this replica's. */
  async #takeNewIdentity(error: ReuniteError): Promise<boolean> {
    this.#hub.tryAgain(error);
    const { takeNewIdentity } = await rare();
    return takeNewIdentity(this.#store, this.#hub, error.code, (work) => this.#change(work));
  }

  // -- plumbing -----------------------------------------------------------------------------------

  #state(): Promise<State> {
    return this.#store.read(async (tx) => tx.state);
  }

  async #change<Result>(work: (inbox: Inbox, tx: Tx) => Promise<Result>): Promise<Result> {
    const [result, done] = await withRare(() =>
      this.#store.write(async (tx) => {
        const inbox = new Inbox(tx, this.#device.nowMs());
        return [await work(inbox, tx), inbox.done] as const;
      }),
    );
    this.report.pulled += done.rows;
    this.report.rejected += done.parked.length;
    this.report.conflicts += done.conflicts.length;
    if (done.rows > 0) this.#hub.tell("pull", this.report.pulled);
    this.#onApplied(done);
    return result;
  }
}
