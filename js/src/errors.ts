/**
 * The error that everything here throws on purpose: a stable code, and a sentence that says what to
 * do next.
 *
 * Codes are those of the hub's problems (`docs/protocol.md`), and of this side's own:
 *
 *     bad-request         a value or an option is not as it should be
 *     unknown-table       no such table in this replica
 *     no-row              there is no row under this key
 *     key-exists          there is a row under this key already
 *     keys-used-up        no generated key is left to give before the next sync
 *     hub-unreachable     the network or the hub failed: nothing is lost, try later
 *     no-hub              something answered that is no hub: check the URL
 *     not-secure          the page is neither on https nor on localhost
 *     storage-full        the browser has no room for more
 *     storage-lost        the browser threw the replica away while it was open
 *     no-storage          the browser opens no database for this page
 *     closed              the database was closed
 *     busy                a transaction was disturbed again and again
 */

/** What a problem of the hub, or a failure here, says besides its code. */
export interface ErrorDetails {
  readonly path?: string | undefined;
  readonly limit?: string | undefined;
  readonly retryAfterS?: number | undefined;
  readonly status?: number | undefined;
  readonly hasAnswered?: boolean | undefined;
  readonly cause?: unknown;
}

export class ReuniteError extends Error {
  override readonly name = "ReuniteError";

  constructor(
    readonly code: string,
    message: string,
    readonly details: ErrorDetails = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
  }
}

/** A call that cannot be carried out as it is; `path` names what is to be changed. */
export function badRequest(message: string, path?: string, cause?: unknown): ReuniteError {
  return new ReuniteError("bad-request", message, { path, cause });
}

/** Throws `bad-request` for what cannot be called back. */
export function needFunction(given: unknown): void {
  if (typeof given !== "function") throw badRequest("Give a function to call.", "callback");
}

/** Whether something that was caught is a reunite error of one of these codes (none: any). */
export function isError(caught: unknown, ...codes: string[]): caught is ReuniteError {
  // By name: the package's other entries bring a class of their own.
  const isOurs = caught instanceof Error && caught.name === "ReuniteError";
  return isOurs && (codes.length === 0 || codes.includes((caught as ReuniteError).code));
}

/** Codes after which hub and replica must agree anew on who the replica is. */
export const LOST_IDENTITY = [
  "identity-forked",
  "hub-restored",
  "epoch-changed",
  "replica-unknown",
  "number-gap",
];

/** Of these, the ones after which nothing that was read of the hub's log can be relied on. */
export const LOST_LOG = ["hub-restored", "epoch-changed", "replica-unknown"];
