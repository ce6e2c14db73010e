/**
 * Connecting: from a URL and a token to a database that a page can use.
 */

import { badRequest, ReuniteError } from "../errors.js";
import { TIMES, type Times } from "../net/keeper.js";
import { locksHere, PONG_MS } from "../net/tabs.js";
import { type Carriage, type Fetch, type Token, Transport } from "../net/transport.js";
import type { Expression } from "../protocol/messages.js";
import type { Progress } from "../replica/conversation.js";
import { Store } from "../replica/store.js";
import { Database } from "./database.js";
import type { FormOptions } from "./forms.js";

/** What `connect` can be told. */
export interface ConnectOptions extends FormOptions {
  /** The bearer token, or a function that gives one; it is asked again when the hub refuses it. */
  readonly token: Token;
  /** The tables to have: names, or an object of names with an expression that chooses rows, `true`
   * for all of them. Left out: all that the token may read. */
  readonly tables?: readonly string[] | Readonly<Record<string, true | Expression>>;
  /** The name of the local database; the hub's URL if left out. Two users of one browser need two. */
  readonly name?: string;
  /** What people at the hub call this replica. */
  readonly label?: string;
  /** Whether to keep a line to the hub; true unless said otherwise. Without it, call `sync`. */
  readonly live?: boolean;
  /** Called while the first clone fills the database. */
  readonly onProgress?: (progress: Progress) => void;
  /** "strict" has the disk flushed with every write, so that it survives a power cut too. */
  readonly durability?: "relaxed" | "strict";
  /** What carries the requests instead of plain HTTP: `sealed()` of `reunite/sealed`. */
  readonly transport?: Carriage;
  /** Instead of the browser's own `fetch`, for tests. */
  readonly fetch?: Fetch;
  /** The current time in milliseconds, for tests. */
  readonly now?: () => number;
  /** Pauses and deadlines, for tests. */
  readonly times?: Partial<Times> & { readonly pongMs?: number };
}

/**
 * Open the replica of a hub in this browser, and fill it the first time.
 *
 * `url` is the hub's, up to and with its mount point; a path is taken from the page's own. Resolves
 * when there are rows to read: at once if the replica was here before, also without a network.
 *
 * Throws `not-secure` on a page that is neither on https nor on localhost, `hub-unreachable` if the
 * hub does not answer the first time, `not-authenticated` for a token that it does not take,
 * `no-storage` where the browser opens no database.
 */
export async function connect(url: string, options: ConnectOptions): Promise<Database> {
  refuseOdd(options);
  const carrier = options.transport?.(url, options.token);
  if (globalThis.isSecureContext === false && carrier?.locks === undefined) {
    throw new ReuniteError(
      "not-secure",
      "Browsers keep locks and persistent storage for secure pages: serve this page by https, or open it on localhost.",
    );
  }
  // Asked for at every visit: browsers say yes sooner to pages that people come back to.
  void globalThis.navigator?.storage?.persist?.().catch(() => false);
  const { tables, where } = asked(options.tables);
  const transport = carrier
    ? new Transport(carrier.base, "", carrier.fetch)
    : new Transport(url, options.token, options.fetch);
  const locks = await locksHere(carrier?.locks);
  const name = options.name ?? transport.base;
  let database: Database | null = null;
  const store = await Store.open(name, options.durability ?? "relaxed", () => database?.lose());
  const { pongMs, ...times } = options.times ?? {};
  database = new Database(store, transport, {
    name,
    label: options.label ?? "",
    forms: options,
    isLive: options.live ?? true,
    times: { ...TIMES, ...times },
    device: { nowMs: options.now ?? Date.now, newId },
    pongMs: pongMs ?? PONG_MS,
    locks,
  });
  const stopProgress = options.onProgress && database.on("progress", options.onProgress);
  try {
    await database.begin(transport.base, tables, where);
  } catch (error) {
    await database.close();
    throw error;
  } finally {
    stopProgress?.();
  }
  return database;
}

/** Of what kind each option is: what `typeof` says, or one of these. */
const OPTIONS: Readonly<Record<string, string | readonly unknown[]>> = {
  token: "string or function",
  tables: "object",
  name: "string",
  onProgress: "function",
  transport: "function",
  durability: ["relaxed", "strict"],
  longIntegers: ["string", "bigint"],
  datetimes: ["string", "date"],
};

/** Throws `bad-request` for options that make no sense. */
function refuseOdd(options: unknown): void {
  const given = Object(options) as Record<string, unknown>;
  for (const [name, kind] of Object.entries(OPTIONS)) {
    const value = given[name];
    if (value === undefined && name !== "token") continue;
    const isWord = typeof kind === "string";
    const isFit = isWord ? value !== null && kind.includes(typeof value) : kind.includes(value);
    if (isFit && value !== "") continue;
    const words = isWord ? `a ${kind}` : kind.join(" or ");
    throw badRequest(`Connect with { token, … }: the option '${name}' is ${words}.`, name);
  }
}

function asked(given: ConnectOptions["tables"]): {
  tables: readonly string[] | null;
  where: Record<string, Expression>;
} {
  if (given === undefined) return { tables: null, where: {} };
  if (Array.isArray(given) && given.every((name) => typeof name === "string")) {
    return { tables: [...given], where: {} };
  }
  if (Symbol.iterator in given) {
    const words = "an array of names, or an object of expressions by name";
    throw badRequest(`The option 'tables' is ${words}.`, "tables");
  }
  const members = Object.entries(given) as [string, true | Expression][];
  const chosen = members.filter((member): member is [string, Expression] => member[1] !== true);
  return { tables: members.map(([name]) => name), where: Object.fromEntries(chosen) };
}

/** 128 random bits as 32 hexadecimal digits. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
