/**
 * The rows that the pages of a checkpoint take away from a replica.
 */

import type { Page } from "../protocol/messages.js";
import { type Place, placeOf } from "./pending.js";

export class Leaving {
  readonly evicted = new Set<Place>();
  readonly #reset = new Set<string>();
  #isAllReset = false;

  /** `isSameLog`: what is not in a snapshot was taken away; else another hub has not got it. */
  readonly #isSameLog: boolean;

  constructor(isSameLog: boolean) {
    this.#isSameLog = isSameLog;
  }

  see(page: Page): void {
    if (page.reset) this.#isAllReset = true;
    for (const part of page.tables ?? []) {
      if (part.reset) this.#reset.add(part.table);
      for (const key of part.evicts ?? []) this.evicted.add(placeOf(part.table, key));
    }
  }

  get isAny(): boolean {
    return this.#isAllReset || this.#reset.size > 0 || this.evicted.size > 0;
  }

  /** Whether a row of this table that is not here was taken away. */
  wasReset(table: string): boolean {
    return this.#isSameLog && (this.#isAllReset || this.#reset.has(table));
  }
}
