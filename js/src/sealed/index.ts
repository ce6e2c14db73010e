/**
 * The sealed door, from a page: a whole hub behind one URL, encrypted and authenticated where nobody
 * has a certificate.
 *
 *     import { connect } from "reunite";
 *     import { sealed } from "reunite/sealed";
 *     const db = await connect("http://pi.local:3000/sync/001", { token, transport: sealed() });
 *
 * An entry of its own, since it brings its cryptography with it. `docs/explanation/sealed-door.md`
 * says what it protects against, and what not.
 */

import type { Carriage, Fetch } from "../net/transport.js";
import { Door } from "./door.js";
import { LeaseLocks } from "./lease.js";

/** What `sealed` can be told. */
export interface SealedOptions {
  /** Called with each token that the door gives in place of the one at hand: keep it for the next
   * visit, where nothing but this page can read it. */
  readonly onToken?: (token: string) => void;
  /** Instead of the browser's own `fetch`, for tests. */
  readonly fetch?: Fetch;
}

/** What carries the requests of `connect` through a sealed door; the URL is that of any of its
 * doors, and the token one of its own. */
export function sealed(options: SealedOptions = {}): Carriage {
  const fetch: Fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
  return (url, token) => {
    const door = new Door(url, token, fetch, options.onToken ?? (() => {}));
    return { base: door.base, fetch: door.fetch, locks: new LeaseLocks() };
  };
}
