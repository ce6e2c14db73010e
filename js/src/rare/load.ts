/**
 * Fetching what most visits never need.
 *
 * The rule: it is fetched outside transactions of IndexedDB, and only where the network is needed
 * anyway. What a page does offline is in the client's own module.
 */

import { ReuniteError } from "../errors.js";

export type Rare = typeof import("./index.js");

let loaded: Rare | null = null;

let failures = 0;

/** The rest of the client. Throws `hub-unreachable` if it cannot be had. */
export async function rare(): Promise<Rare> {
  try {
    loaded ??= await import("./index.js").catch((error) => {
      // Browsers remember that a module did not load; under another name they ask again.
      failures += 1;
      return import(/* @vite-ignore */ `${/http\S+/.exec(error)}#${failures}`);
    });
    return loaded!;
  } catch (cause) {
    const message = "A part of the client did not load. Nothing is lost: it is tried again.";
    throw new ReuniteError("hub-unreachable", message, { cause });
  }
}

class Wanted extends Error {}

/** The same inside a transaction of `withRare`. */
export function rareNow(): Rare {
  if (loaded === null) throw new Wanted();
  return loaded;
}

/** Carry a transaction out; if it asks for what is not here yet, fetch that and do it again. What
 * the first attempt did is undone by then. */
export async function withRare<Result>(transaction: () => Promise<Result>): Promise<Result> {
  try {
    return await transaction();
  } catch (error) {
    if (!(error instanceof Wanted)) throw error;
    await rare();
    return transaction();
  }
}
