/**
 * What became of writes: each promise of `create`, `update` and `delete` waits here until the backend
 * has answered its change.
 *
 *     pending ──► answered and covered by a checkpoint     true
 *             ──► parked, or met by a delete               false, with the reason
 *
 * The rule: a refusal is put away by the client that waits for it. One that nobody here waits for is
 * left alone while there are other clients of the same replica, in this page or in other tabs.
 */

import type { Database } from "../client/database.js";
import type { ParkedChange } from "../client/shown.js";

/** Why a write was not done. */
export interface Refusal {
  readonly code: "refused" | "exists" | "missing" | "unauthorized" | "offline";
  readonly message: string;
}

/** Told of a change that was refused and that nobody waits for: it was made before this page. */
type OnForgotten = (change: ParkedChange) => void;

// Events tell when to look. This is for the case that one is missed.
const LOOK_AGAIN_MS = 1_000;

/** Where there are no locks to count clients by: how long one has to take what it waits for. */
const OTHERS_MS = 10_000;

export class Waiting {
  readonly #waiting = new Map<string, (refusal: Refusal | null) => void>();
  #isLooking = false;
  #isWanted = false;
  #isStopped = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  readonly #forgotten = new Map<string, number>();
  readonly #database: Database;
  readonly #onForgotten: OnForgotten;
  readonly #presence: Presence;

  /** `name` is the replica's: who else has it is told by it. */
  constructor(database: Database, name: string, onForgotten: OnForgotten) {
    this.#database = database;
    this.#onForgotten = onForgotten;
    this.#presence = new Presence(`reunite dsn ${name}`);
    database.on("status", () => this.#look());
    database.on("rejected", () => this.#look());
    this.#look();
  }

  /** Resolves when the change has its answer: null if it was done. */
  until(uid: string): Promise<Refusal | null> {
    return new Promise((resolve) => {
      this.#waiting.set(uid, resolve);
      this.#look();
    });
  }

  /** Nothing will be heard of any more. */
  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#presence.end();
    const refusal: Refusal = { code: "offline", message: "The client was closed." };
    for (const resolve of this.#waiting.values()) resolve(refusal);
    this.#waiting.clear();
  }

  #look(): void {
    if (this.#waiting.size === 0 && this.#database.status.parked === 0) return;
    this.#isWanted = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    void (async () => {
      try {
        while (this.#isWanted) {
          this.#isWanted = false;
          await this.#settle();
        }
      } catch {
        // The database was closed, or its own error was told already.
      } finally {
        this.#isLooking = false;
      }
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
      if (this.#isStopped || this.#waiting.size + this.#forgotten.size === 0) return;
      this.#timer = setTimeout(() => this.#look(), LOOK_AGAIN_MS);
      (this.#timer as { unref?: () => void }).unref?.();
    })();
  }

  async #settle(): Promise<void> {
    // First what waits: a change leaves it in the transaction that parks it.
    const asked = [...this.#waiting.keys()];
    const pending = new Set((await this.#database.pending()).map(({ uid }) => uid));
    const parked = new Map((await this.#database.parked()).map((change) => [change.uid, change]));
    const gone = new Set(
      (await this.#database.conflicts())
        .filter(({ column, result }) => column === null && result === null)
        .map(({ uid }) => uid),
    );
    for (const uid of asked) {
      if (pending.has(uid)) continue;
      const change = parked.get(uid);
      const refusal = change ? await this.#refusalOf(change) : null;
      const missing: Refusal = { code: "missing", message: "The record was deleted meanwhile." };
      this.#waiting.get(uid)?.(refusal ?? (gone.has(uid) ? missing : null));
      this.#waiting.delete(uid);
      if (change) await this.#database.discard(change.id);
    }
    for (const change of parked.values()) {
      const { id, uid } = change;
      if (asked.includes(uid) || this.#waiting.has(uid)) continue;
      const seenMs = this.#forgotten.get(uid) ?? performance.now();
      if (!(await this.#presence.isAlone(performance.now() - seenMs))) {
        this.#forgotten.set(uid, seenMs);
        continue;
      }
      await this.#database.discard(id);
      this.#forgotten.delete(uid);
      this.#onForgotten(change);
    }
  }

  async #refusalOf({ table, op, key, code, reason }: ParkedChange): Promise<Refusal> {
    if (code !== "not-allowed") return { code: "refused", message: reason };
    const row = await this.#database.row(table, key as string);
    return op === "insert" && row !== null
      ? { code: "exists", message: `There is a record ${key} in ${table} already.` }
      : { code: "missing", message: `The backend has declared no table ${table} to write to.` };
  }
}

/** How many clients have a replica: each holds a part of one lock. */
class Presence {
  readonly #manager = globalThis.navigator?.locks as LockManager | undefined;
  readonly #name: string;
  readonly #begun: Promise<void>;
  #end = () => {};

  constructor(name: string) {
    this.#name = name;
    this.#begun = new Promise((begun) => {
      const held = () => {
        begun();
        return new Promise<void>((resolve) => {
          this.#end = resolve;
        });
      };
      if (this.#manager) void this.#manager.request(name, { mode: "shared" }, held);
      else begun();
    });
  }

  /** Whether there is no other client; without locks, whether one has had the time to look. */
  async isAlone(forMs: number): Promise<boolean> {
    await this.#begun;
    if (!this.#manager) return forMs > OTHERS_MS;
    const { held = [] } = await this.#manager.query();
    return held.filter(({ name }) => name === this.#name).length <= 1;
  }

  end(): void {
    void this.#begun.then(() => this.#end());
  }
}
