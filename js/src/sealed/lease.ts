/**
 * Locks for pages that have none: browsers give Web Locks to secure pages only.
 *
 * One tab has a lock for a few seconds and says so again in time; who stops saying so, closed, dead
 * or asleep, loses it to the next that asks. Who has it stands in an IndexedDB database of its own,
 * so that asking is atomic.
 * The rule: between losing a lock and noticing it two tabs may work. Replicas bear that (`tabs.ts`).
 */

import type { HoldOptions, Locks } from "../net/tabs.js";

const LEASE_MS = 4_000;
const RENEW_MS = 1_000;
const NAME = "reunite leases";

interface Lease {
  readonly holder: string;
  readonly untilMs: number;
}

export class LeaseLocks implements Locks {
  /** `nowMs` is the time in milliseconds, the same for all tabs. */
  constructor(private readonly nowMs: () => number = Date.now) {}

  async hold(
    name: string,
    work: () => Promise<void>,
    { signal, steal }: HoldOptions,
  ): Promise<void> {
    const holder = newHolder();
    let mayTake = steal === true;
    while (!signal.aborted) {
      if (await this.#take(name, holder, mayTake)) {
        await this.#keep(name, holder, work);
        // Who waits looks once in this time, and comes first.
        return pause(2 * RENEW_MS, signal);
      }
      mayTake = false;
      await pause(RENEW_MS, signal);
    }
  }

  async tryHold(name: string, work: () => Promise<void>): Promise<boolean> {
    const holder = newHolder();
    if (!(await this.#take(name, holder, false))) return false;
    // What was begun is brought to its end, also when another tab has begun it meanwhile.
    let end: Promise<void> | null = null;
    const begun = () => {
      end = work();
      return end;
    };
    await this.#keep(name, holder, begun).catch(() => end);
    return true;
  }

  /** Work, and have the lease prolonged meanwhile. Rejects if another tab has it now. */
  async #keep(name: string, holder: string, work: () => Promise<void>): Promise<void> {
    const ending = new AbortController();
    const renewing = (async () => {
      for (;;) {
        await pause(RENEW_MS, ending.signal);
        if (ending.signal.aborted) return;
        if (!(await this.#renew(name, holder))) throw new Error("Another tab has the lock.");
      }
    })();
    try {
      await Promise.race([work(), renewing]);
    } finally {
      ending.abort();
      await renewing.catch(() => {});
      await this.#change(name, (lease) => (lease?.holder === holder ? null : undefined));
    }
  }

  /** Have the lease, if nobody has it or `even` if somebody has. */
  async #take(name: string, holder: string, even: boolean): Promise<boolean> {
    const now = this.nowMs();
    return this.#change(name, (lease) => {
      // One that ends later than any can was written while the clock stood ahead.
      const isFree = !lease || lease.untilMs < now || lease.untilMs > now + LEASE_MS;
      return isFree || even ? { holder, untilMs: now + LEASE_MS } : undefined;
    });
  }

  #renew(name: string, holder: string): Promise<boolean> {
    const untilMs = this.nowMs() + LEASE_MS;
    return this.#change(name, (lease) => {
      // One that ran out while nobody wanted it is still this tab's.
      return lease?.holder === holder ? { holder, untilMs } : undefined;
    });
  }

  /** Change a lease at once: null ends it, undefined leaves it; whether it was changed. */
  async #change(
    name: string,
    decide: (lease: Lease | undefined) => Lease | null | undefined,
  ): Promise<boolean> {
    const database = await opened();
    try {
      return await new Promise<boolean>((resolve, reject) => {
        const transaction = database.transaction("lease", "readwrite");
        const store = transaction.objectStore("lease");
        let wasChanged = false;
        const reading = store.get(name);
        reading.onsuccess = () => {
          const next = decide(reading.result as Lease | undefined);
          wasChanged = next !== undefined;
          if (next === null) store.delete(name);
          else if (next !== undefined) store.put(next, name);
        };
        transaction.oncomplete = () => resolve(wasChanged);
        transaction.onabort = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  }
}

function opened(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("lease");
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

function newHolder(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      // A tab that leads pauses once a second for as long as it is open.
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    (timer as { unref?: () => void }).unref?.();
    signal.addEventListener("abort", end);
  });
}
