/**
 * What became of writes: each promise of `create`, `update` and `delete` waits here until the backend
 * has answered its change.
 *
 *     pending ──► answered and covered by a checkpoint     true
 *             ──► parked, or met by a delete               false, with the reason
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

export class Waiting {
  readonly #waiting = new Map<string, (refusal: Refusal | null) => void>();
  #isLooking = false;
  #isWanted = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  readonly #database: Database;
  readonly #onForgotten: OnForgotten;

  constructor(database: Database, onForgotten: OnForgotten) {
    this.#database = database;
    this.#onForgotten = onForgotten;
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
    if (this.#timer !== null) clearTimeout(this.#timer);
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
      if (this.#waiting.size === 0) return;
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
      if (asked.includes(change.uid) || this.#waiting.has(change.uid)) continue;
      await this.#database.discard(change.id);
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
