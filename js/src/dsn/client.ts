/**
 * The client of a DSNSync: whole tables as objects, and writes that say whether the backend took them.
 *
 * A replica behind a sealed door does the work. Reading never waits for the network once there is
 * something to read; a write is kept until the backend has answered, also over reloads of the page.
 */

import { connect, newId } from "../client/connect.js";
import type { Database } from "../client/database.js";
import { wireKey } from "../client/forms.js";
import { insertOf, updateOf } from "../client/transaction.js";
import type { Table } from "../core/schema.js";
import { isError, needFunction, ReuniteError } from "../errors.js";
import { asError, TIMES } from "../net/keeper.js";
import type { Fetch } from "../net/transport.js";
import type { Write } from "../replica/writing.js";
import { sealed } from "../sealed/index.js";
import { Line } from "./line.js";
import {
  type DsnRecord,
  isTableOfRecords,
  keyOf,
  MADE,
  recordOf,
  recordsOf,
  TABLES,
  textsOf,
} from "./records.js";
import { Tokens } from "./tokens.js";
import { type Refusal, Waiting } from "./waiting.js";

/** What `connectDSN` can be told. */
export interface DsnOptions {
  /** Milliseconds after which a client that cannot be live, or not connect, tries again. */
  readonly pollInterval?: number;
  /** How often the first connection is tried; without end unless said otherwise. */
  readonly maxRetries?: number;
  /** Milliseconds after which calls that wait for the first connection fail; never by default. */
  readonly connectionTimeout?: number;
  /** The name of the local database; the backend's URL if left out. */
  readonly storage?: string;
  /** Instead of the browser's own `fetch`, for tests. */
  readonly fetch?: Fetch;
}

const OFFLINE = ["hub-unreachable", "no-hub", "closed", "storage-lost", "no-storage"];
const UNAUTHORIZED = ["key-unknown", "key-expired", "seal-broken", "bad-request"];

export class DsnClient {
  /** The last refusal, or what keeps the client from the backend; null if there was none. */
  lastError: Refusal | null = null;

  readonly #url: string;
  readonly #tokens: Tokens;
  readonly #options: DsnOptions;
  readonly #line = new Line();
  #opening: Promise<Database> | null = null;
  #database: Database | null = null;
  #waiting: Waiting | null = null;
  #isClosed = false;
  readonly #watches: Watch[] = [];

  constructor(url: string, token: string, options: DsnOptions) {
    this.#url = url;
    this.#tokens = new Tokens(String(token)); // what is none is told as such
    this.#options = { ...options };
    void this.#ready().catch(() => {});
  }

  // -- records ------------------------------------------------------------------------------------

  /** All records of a table by their keys; none of a table that there is not. */
  async getAll(table: string): Promise<Record<string, DsnRecord>> {
    const database = await this.#ready();
    if (!isTableOfRecords(table)) return {};
    try {
      return recordsOf(await database.table(table).all());
    } catch (error) {
      if (isError(error, "unknown-table")) return {};
      throw error;
    }
  }

  /** One record, undefined if there is none. */
  async get(table: string, key: string): Promise<DsnRecord | undefined> {
    const database = await this.#ready();
    if (!isTableOfRecords(table)) return undefined;
    try {
      const row = await database.table(table).get(String(key));
      return row === null ? undefined : recordOf(row);
    } catch (error) {
      if (isError(error, "unknown-table")) return undefined;
      throw error;
    }
  }

  /** Make a record: true when the backend has stored it, false when it was refused or its key is
   * taken; `lastError` says why. Without a network it waits for one. */
  create(table: string, key: string, data: object): Promise<boolean> {
    return this.#write(table, key, data, (known, texts, of) => {
      return insertOf(known, [of, { ...texts, [MADE]: newId() }]);
    });
  }

  /** Change the given fields of a record: true when the backend has stored it. */
  update(table: string, key: string, data: object): Promise<boolean> {
    return this.#write(table, key, data, (known, texts, of) => updateOf(known, of, texts));
  }

  /** Delete a record: true when it is gone at the backend. */
  delete(table: string, key: string): Promise<boolean> {
    return this.#write(table, key, {}, (known, _, of) => {
      return { op: "delete", table: known.name, key: wireKey(known, of) };
    });
  }

  /** Call back with all records of a table by their keys, now and after every change of it, whoever
   * made it. */
  onDataChange(table: string, callback: (records: Record<string, DsnRecord>) => void): void {
    needFunction(callback);
    const watch = { table, callback };
    this.#watches.push(watch);
    if (this.#database !== null) begin(watch, this.#database);
    else void this.#ready().catch(() => {}); // `lastError` says why
  }

  async #write(
    name: string,
    given: string,
    data: object,
    write: (table: Table, texts: Record<string, string>, key: string) => Write,
  ): Promise<boolean> {
    let refusal: Refusal | null;
    try {
      const key = keyOf(given);
      const database = await this.#ready();
      const uid = newId();
      const attempt = async () => {
        const about = await database.table(TABLES).get(String(name));
        if (!about?.is_declared) {
          const message = `The backend has declared no table ${name} to write to.`;
          throw new ReuniteError("unknown-table", message);
        }
        const texts = textsOf(data, key, about.key_field as string);
        await database.write(name, (table) => write(table, texts, key), uid);
      };
      try {
        await attempt();
      } catch (error) {
        // The backend may have declared it a moment ago: then it is on its way.
        if (!isError(error, "unknown-table", "bad-request") || !this.isConnected()) throw error;
        await database.sync();
        await attempt();
      }
      refusal = await this.#waiting!.until(uid);
    } catch (error) {
      refusal = refusalOf(error);
    }
    return refusal === null || this.#refused(refusal);
  }

  #refused(refusal: Refusal): false {
    this.lastError = refusal;
    return false;
  }

  // -- the connection -----------------------------------------------------------------------------

  /** Connect, if `disconnect` was called before; resolves true when the backend answers. */
  async connect(): Promise<boolean> {
    this.#line.restore();
    try {
      await (await this.#ready()).sync();
      return true;
    } catch (error) {
      return this.#refused(refusalOf(error));
    }
  }

  /** Let go of the network. Reading goes on, and what is written waits until this client, or one of
   * another tab, is connected. */
  disconnect(): void {
    this.#line.cut();
  }

  /** Whether news of the backend arrive now. */
  isConnected(): boolean {
    const phase = this.#database?.status.phase;
    return !this.#line.isCut && (phase === "live" || phase === "polling");
  }

  async reconnect(): Promise<boolean> {
    this.disconnect();
    return this.connect();
  }

  /** Stop for good. What waits to be sent stays for the next visit. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#line.cut();
    this.#waiting?.stop();
    await this.#opening?.catch(() => {});
    await this.#database?.close();
  }

  /** The replica, once there is something to read. */
  #ready(): Promise<Database> {
    if (this.#database !== null) return Promise.resolve(this.#database);
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    const { connectionTimeout } = this.#options;
    if (!connectionTimeout) return this.#opening;
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const message = `No connection to ${this.#url} within ${connectionTimeout} ms.`;
        reject(new ReuniteError("hub-unreachable", message));
      }, connectionTimeout);
    });
    return Promise.race([this.#opening, late]).finally(() => clearTimeout(timer));
  }

  async #open(): Promise<Database> {
    await storageHere();
    const { pollInterval = 1_000, maxRetries = Number.POSITIVE_INFINITY, storage } = this.#options;
    const { fetch } = this.#options;
    const transport = this.#line.around(
      sealed({ onToken: this.#tokens.keep, ...(fetch && { fetch }) }),
    );
    const times = { pauseMsMax: Math.max(pollInterval, TIMES.pauseMs) };
    for (let retries = 0; ; retries += 1) {
      try {
        const given = {
          token: this.#tokens.next,
          transport,
          times,
          ...(storage && { name: storage }),
        };
        const database = await connect(this.#url, given);
        return this.#opened(database);
      } catch (caught) {
        const error = asError(caught);
        this.lastError = refusalOf(error);
        const isFinal = error.code !== "hub-unreachable" && error.code !== "no-hub";
        if (isFinal || retries >= maxRetries || this.#isClosed) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, pollInterval));
    }
  }

  #opened(database: Database): Database {
    this.#database = database;
    // Whichever door a page was told, the replica is the same.
    const name = this.#options.storage ?? String(this.#url).replace(/\/\d+\/*$/, "");
    this.#waiting = new Waiting(database, name, ({ table, op, key, reason }) => {
      const message = `The ${op} of ${key} in ${table}, made before: ${reason}`;
      this.#refused({ code: "refused", message });
    });
    database.on("status", ({ error }) => {
      if (error !== null) this.lastError = refusalOf(error);
    });
    database.on("error", (error) => {
      this.lastError = refusalOf(error);
      if (error.code !== "storage-lost") return;
      // The browser took it away: another one is opened, now if somebody watches.
      this.#waiting?.stop();
      this.#database = null;
      if (this.#watches.length > 0) void this.#ready().catch(() => {});
    });
    for (const watch of this.#watches) begin(watch, database);
    return database;
  }
}

interface Watch {
  readonly table: string;
  readonly callback: (records: Record<string, DsnRecord>) => void;
}

/** Have a watch called from now on; it ends with the database. */
function begin({ table, callback }: Watch, database: Database): void {
  database.table(table).live((rows) => callback(recordsOf(rows)));
}

/** What an error means for who called. */
function refusalOf(caught: unknown): Refusal {
  const { code, message } = caught as Partial<ReuniteError>;
  const text = message ?? String(caught);
  if (code === "no-row") return { code: "missing", message: text };
  if (code === "unknown-table") return { code: "missing", message: text };
  if (code === "key-exists") return { code: "exists", message: text };
  if (code && OFFLINE.includes(code)) return { code: "offline", message: text };
  const isPath = (caught as Partial<ReuniteError>).details?.path;
  if (code && UNAUTHORIZED.includes(code) && (code !== "bad-request" || isPath === "token")) {
    return { code: "unauthorized", message: text };
  }
  if (code === undefined && !(caught instanceof TypeError))
    return { code: "offline", message: text };
  return { code: "refused", message: text };
}

/** In Node there is no IndexedDB: one in memory does, if its package is installed. */
async function storageHere(): Promise<void> {
  if (globalThis.indexedDB !== undefined) return;
  const name = "fake-indexeddb/auto";
  try {
    await import(/* @vite-ignore */ name);
  } catch (cause) {
    const message = "Here is no IndexedDB. In Node, install the package fake-indexeddb.";
    throw new ReuniteError("no-storage", message, { cause });
  }
}
