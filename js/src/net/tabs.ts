/**
 * Tabs: which one of several does the network, and how they hear of each other.
 *
 *     one tab holds the lock ─► it leads: keeps the line, pushes what any tab wrote
 *     the others wait for it ─► the browser gives it on when the leader's tab is closed or dies
 *     a leader that is frozen ─► does not answer pings; the lock is taken from it
 *     a leader whose token is refused, or that was told to let go ─► passes the lock on
 *
 * The rule: every tab reads and writes the replica itself, each in whole transactions; only the
 * network has a leader, and even two of them do no harm, since ids make a change count once.
 */

import type { Key } from "../core/values.js";
import { rare } from "../rare/load.js";
import type { ConflictRecord, ParkedRecord } from "../replica/records.js";

/** What tabs say to each other. */
export type Message =
  | {
      readonly type: "changed";
      readonly changes: readonly (readonly [string, readonly Key[] | null])[];
    }
  | {
      readonly type: "records";
      readonly conflicts: readonly ConflictRecord[];
      readonly parked: readonly ParkedRecord[];
    }
  | { readonly type: "written" | "ready" | "hello" | "ping" | "pong" }
  | { readonly type: "line"; readonly line: unknown }
  | { readonly type: "sync"; readonly id: string }
  | {
      readonly type: "synced";
      readonly id: string;
      readonly error: unknown;
      readonly report: unknown;
    };

/** What holds a name for one at a time. */
export interface Locks {
  /** Run once the lock is had, and hold it until then; `signal` ends the waiting. Rejects if the
   * lock is stolen meanwhile; what runs then goes on. */
  hold(name: string, work: () => Promise<void>, options: HoldOptions): Promise<void>;
  /** Run with the lock if nobody has it; whether it was so. */
  tryHold(name: string, work: () => Promise<void>): Promise<boolean>;
}

export interface HoldOptions {
  readonly signal: AbortSignal;
  readonly steal?: boolean;
}

/** Those of the browser; where it has none, these others, or those of this process (Node). */
export async function locksHere(others?: Locks): Promise<Locks> {
  if (globalThis.navigator?.locks) return new BrowserLocks(navigator.locks);
  return others ?? (await rare()).PROCESS_LOCKS;
}

class BrowserLocks implements Locks {
  readonly #manager: LockManager;

  constructor(manager: LockManager) {
    this.#manager = manager;
  }

  async hold(name: string, work: () => Promise<void>, options: HoldOptions): Promise<void> {
    // A request to steal cannot be called off, and need not be.
    const how: LockOptions = options.steal ? { steal: true } : { signal: options.signal };
    await this.#manager.request(name, how, work);
  }

  async tryHold(name: string, work: () => Promise<void>): Promise<boolean> {
    let working: Promise<void> | null = null;
    const request = this.#manager.request(name, { ifAvailable: true }, (lock) => {
      if (lock !== null) working = work();
      return working;
    });
    // What was begun is brought to its end, also when another tab has begun it meanwhile.
    await request.catch((error) => working ?? Promise.reject(error));
    return working !== null;
  }
}

/** How long a leader may take to answer before the lock is taken from it. */
export const PONG_MS = 10_000;

/** One tab's place among those of a replica. */
export class Tabs {
  isLeader = false;
  #hasOthers = false;
  #pass = () => {};
  readonly #channel: BroadcastChannel;
  readonly #over = new AbortController();
  #unanswered: ReturnType<typeof setTimeout> | null = null;

  readonly #name: string;
  readonly #locks: Locks;
  readonly #onMessage: (message: Message) => void;
  readonly #pongMs: number;

  constructor(
    name: string,
    locks: Locks,
    onMessage: (message: Message) => void,
    pongMs: number = PONG_MS,
  ) {
    this.#name = name;
    this.#locks = locks;
    this.#onMessage = onMessage;
    this.#pongMs = pongMs;

    this.#channel = new BroadcastChannel(name);
    // In Node an open channel would keep the process alive.
    (this.#channel as { unref?: () => void }).unref?.();
    this.#channel.onmessage = (event: MessageEvent) => this.#hear(event.data as Message);
  }

  /** Tell the other tabs. */
  post(message: Message): void {
    if (!this.#over.signal.aborted) this.#channel.postMessage(message);
  }

  /** Run with the lock if no tab leads, or if it is to be stolen; whether it was so. */
  async tryLead(work: () => Promise<void>, steal = false): Promise<boolean> {
    let working: Promise<void> | null = null;
    const begun = () => {
      working = work();
      this.#isAtWork = true;
      return working.finally(() => {
        this.#isAtWork = false;
      });
    };
    if (!steal) return this.#locks.tryHold(this.#name, begun);
    const { signal } = this.#over;
    await this.#locks.hold(this.#name, begun, { signal, steal }).catch(() => working);
    return true;
  }

  /** Lead as soon as it is this tab's turn, until `close`: `begin` starts what a leader does and
   * gives what ends it. */
  async lead(begin: () => () => Promise<void>, steal = false): Promise<void> {
    const { signal } = this.#over;
    const work = async () => {
      if (signal.aborted) return;
      this.#calm();
      this.isLeader = true;
      const end = begin();
      this.#ending = end;
      await new Promise<void>((resolve) => {
        this.#pass = resolve;
        signal.addEventListener("abort", () => resolve());
      });
      await end();
    };
    try {
      await this.#locks.hold(this.#name, work, { signal, steal });
      this.isLeader = false;
    } catch {
      // Called off, or stolen by a tab that had no answer from this one.
      const wasLeader = this.isLeader;
      this.isLeader = false;
      if (wasLeader) await this.#ending?.();
    }
    if (!signal.aborted) void this.lead(begin);
  }

  /** Let another tab lead, if there may be one, and wait for the next turn; whether it is so. */
  pass(): boolean {
    if (this.#hasOthers) this.#pass();
    return this.#hasOthers;
  }

  #ending: (() => Promise<void>) | null = null;
  #isAtWork = false;

  /** Ask whether the tab with the lock is awake; without an answer, `take` is called. */
  check(take: () => void): void {
    if (this.isLeader || this.#unanswered !== null || this.#over.signal.aborted) return;
    this.post({ type: "ping" });
    this.#unanswered = setTimeout(() => {
      this.#unanswered = null;
      if (!this.isLeader && !this.#over.signal.aborted) take();
    }, this.#pongMs);
  }

  close(): void {
    this.#calm();
    this.#over.abort();
    this.#channel.close();
  }

  #hear(message: Message): void {
    this.#hasOthers = true;
    if (message.type === "ping") {
      if (this.isLeader || this.#isAtWork) this.post({ type: "pong" });
    } else if (message.type === "pong") {
      this.#calm();
    } else {
      this.#onMessage(message);
    }
  }

  #calm(): void {
    if (this.#unanswered !== null) clearTimeout(this.#unanswered);
    this.#unanswered = null;
  }
}
