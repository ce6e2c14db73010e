/**
 * Locks among the databases of one process, for Node before it had those of browsers.
 */

import type { HoldOptions, Locks } from "../net/tabs.js";

class ProcessLocks implements Locks {
  readonly #held = new Map<string, Promise<void>>();

  async hold(name: string, work: () => Promise<void>, { signal }: HoldOptions): Promise<void> {
    const over = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    while (this.#held.has(name)) {
      if (signal.aborted) return;
      await Promise.race([this.#held.get(name), over]);
    }
    if (signal.aborted) return;
    await this.#take(name, work);
    // Who waited longer comes first.
    await new Promise((resolve) => setTimeout(resolve));
  }

  async tryHold(name: string, work: () => Promise<void>): Promise<boolean> {
    if (this.#held.has(name)) return false;
    await this.#take(name, work);
    return true;
  }

  async #take(name: string, work: () => Promise<void>): Promise<void> {
    let release = () => {};
    this.#held.set(
      name,
      new Promise((resolve) => {
        release = resolve;
      }),
    );
    try {
      await work();
    } finally {
      this.#held.delete(name);
      release();
    }
  }
}

export const PROCESS_LOCKS = new ProcessLocks();
