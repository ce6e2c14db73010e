/**
 * The line of a client, which `disconnect` cuts and `connect` restores.
 *
 * Reading and writing go on meanwhile, as they do without a network.
 */

import { ReuniteError } from "../errors.js";
import type { Carriage, Fetch } from "../net/transport.js";

/** Known as this client's own affair: another tab may go on. */
const CUT = new ReuniteError("closed", "The client was disconnected: `connect` goes on.");

export class Line {
  isCut = false;
  #period = new AbortController();

  cut(): void {
    this.isCut = true;
    this.#period.abort();
  }

  restore(): void {
    if (!this.isCut) return;
    this.isCut = false;
    this.#period = new AbortController();
  }

  /** What carries requests, as long as the line is not cut. */
  around(carriage: Carriage): Carriage {
    return (url, token) => {
      const carrier = carriage(url, token);
      const fetch: Fetch = (address, init) => {
        if (this.isCut) return Promise.reject(CUT);
        const signals = [this.#period.signal, ...(init.signal ? [init.signal] : [])];
        return carrier.fetch(address, { ...init, signal: AbortSignal.any(signals) });
      };
      return { ...carrier, fetch };
    };
  }
}
