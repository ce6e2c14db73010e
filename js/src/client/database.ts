/**
 * The database of a page: a replica of a hub's tables, kept up to date while the page is open.
 *
 * Reading and writing touch only IndexedDB: they work offline and never wait for the hub.
 */

import type { Table } from "../core/schema.js";
import { badRequest, isError, needFunction, ReuniteError } from "../errors.js";
import { asError, Keeper, type Phase } from "../net/keeper.js";
import { type Message, Tabs } from "../net/tabs.js";
import type { Transport } from "../net/transport.js";
import type { Wheres } from "../protocol/messages.js";
import { rare } from "../rare/load.js";
import { Conversation, type Progress } from "../replica/conversation.js";
import { Driver, type SyncReport } from "../replica/driver.js";
import type { Applied } from "../replica/inbox.js";
import type { ConflictRecord, ParkedRecord } from "../replica/records.js";
import type { State } from "../replica/state.js";
import { databaseName, lost, type Store } from "../replica/store.js";
import type { Write } from "../replica/writing.js";
import { Counting } from "./counting.js";
import { Forms, type KeyLike, type RowObject, wireKey, wireValues } from "./forms.js";
import { chosen, type QueryParts } from "./query.js";
import { type Conflict, type ParkedChange, type PendingChange, Shown } from "./shown.js";
import type { Events, Settings, Status } from "./status.js";
import { TableHandle } from "./table.js";
import { runTransaction, type Transaction, tableIn, writeAtOnce } from "./transaction.js";
import { type Changes, Watching } from "./watching.js";

const CLOSED = new ReuniteError("closed", "The database was closed: connect again.");
/** How a sync that another tab was asked for ended. */
interface SyncAnswer {
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly report: SyncReport | null;
}

type Listeners = { [Name in keyof Events]: Set<(event: Events[Name]) => void> };

export class Database {
  readonly #forms: Forms;
  readonly #shown: Shown;
  readonly #watching: Watching;
  readonly #tabs: Tabs;
  readonly #listeners: Listeners = {
    status: new Set(),
    conflict: new Set(),
    rejected: new Set(),
    progress: new Set(),
    error: new Set(),
  };
  #keeper: Keeper | null = null;
  #failures = 0;
  #busy: Promise<unknown> = Promise.resolve();
  #writing: Promise<unknown> = Promise.resolve();
  readonly #waiting = new Map<string, (answer: SyncAnswer) => void>();
  readonly #endings: (() => void)[] = [];
  #closed: ReuniteError | null = null;
  readonly #closing = new AbortController();
  readonly #counting: Counting;
  #isCounting = false;
  #wasCountWanted = false;
  #line: { phase: Status["phase"]; error: ReuniteError | null };
  #current: Status;
  readonly #store: Store;
  readonly #transport: Transport;
  readonly #settings: Settings;

  constructor(store: Store, transport: Transport, settings: Settings) {
    this.#store = store;
    this.#transport = transport;
    this.#settings = settings;

    this.#counting = new Counting(store);
    this.#forms = new Forms(settings.forms);
    this.#shown = new Shown(this.#forms);
    this.#watching = new Watching(store, this.#forms, (error) => this.#fail(error));
    this.#tabs = new Tabs(
      databaseName(settings.name),
      settings.locks,
      (message) => this.#hear(message),
      settings.pongMs,
    );
    this.#line = { phase: settings.isLive ? "connecting" : "idle", error: null };
    this.#current = {
      ...this.#line,
      pending: 0,
      parked: 0,
      openConflicts: 0,
      staleChoices: [],
      syncedAt: null,
      isLeader: false,
      storage: null,
    };
  }

  // -- what a page uses ---------------------------------------------------------------------------

  /** A table of the replica; nothing is looked up before it is used. */
  table<T extends object = RowObject>(name: string): TableHandle<T> {
    return new TableHandle<T>(this, name);
  }

  /** The names of the tables that this replica has. */
  tables(): Promise<string[]> {
    return this.#store.read(async (tx) => [...tx.tables.keys()]);
  }

  /** Several reads and writes that happen together or not at all, here and at the hub. The function
   * may run again, if what it read was changed meanwhile. */
  transaction<Result>(work: (tx: Transaction) => Promise<Result>): Promise<Result> {
    needFunction(work);
    // One after the other, so that those of one page do not disturb each other.
    const next = this.#writing.then(async () => {
      const { device } = this.#settings;
      const { result, done } = await runTransaction(this.#store, this.#forms, device, work);
      this.#announce(done, true);
      return result;
    });
    this.#writing = next.catch(() => {});
    return next;
  }

  /** How the replica stands now. */
  get status(): Status {
    return this.#current;
  }

  /** Be told of something; returns what ends it. */
  on<Name extends keyof Events>(name: Name, callback: (event: Events[Name]) => void): () => void {
    needFunction(callback);
    if (!Object.hasOwn(this.#listeners, name)) throw badRequest(`Nothing is told as '${name}'.`);
    this.#listeners[name].add(callback);
    return () => this.#listeners[name].delete(callback);
  }

  /** The changes that no checkpoint of the hub has covered yet, oldest first. */
  pending(): Promise<PendingChange[]> {
    return this.#store.read(async (tx) => {
      return (await tx.outbox()).map((pending) => this.#shown.pending(tx.tables, pending));
    });
  }

  /** The conflicts that this replica's changes met, oldest first. */
  conflicts(): Promise<Conflict[]> {
    return this.#store.read(async (tx) => {
      return (await tx.conflicts()).map((record) => this.#shown.conflict(tx.tables, record));
    });
  }

  /** Settle an open conflict of a column with a value: an ordinary change. */
  async decide(id: number, value: unknown): Promise<void> {
    const found = (await this.#store.read((tx) => tx.conflicts())).find((c) => c.id === id);
    const column = found?.column;
    if (found === undefined || !column) {
      throw badRequest(`There is no conflict ${id} of a single column.`);
    }
    await this.write(found.table, (table) => {
      const values = wireValues(table, { [column]: value });
      return { op: "update", table: table.name, key: found.key, values };
    });
    await this.#store.write(async (tx) => {
      await tx.putRecord("conflicts", { ...found, isOpen: false });
    });
    this.#count();
  }

  /** Forget a conflict that was looked at. */
  async dismiss(id: number): Promise<void> {
    await this.#store.write(async (tx) => tx.removeRecord("conflicts", id));
    this.#count();
  }

  /** The changes that the hub refused, with its reasons, oldest first. */
  parked(): Promise<ParkedChange[]> {
    return this.#store.read(async (tx) => {
      return (await tx.parked()).map((record) => this.#shown.parked(tx.tables, record));
    });
  }

  /** Make a parked change again, as a new one; `values` replaces some of its columns. */
  async retry(id: number, values: object = {}): Promise<void> {
    const parked = await this.#parkedRecord(id);
    await this.write(parked.table, (table): Write => {
      const wanted = { ...parked.row, ...wireValues(table, values) };
      const name = table.name;
      if (parked.op === "insert") return { op: "insert", table: name, values: wanted };
      const key = parked.oldKey ?? parked.key;
      if (parked.op === "delete") return { op: "delete", table: name, key };
      const was = parked.old ?? {};
      const members = Object.entries(wanted).filter(([n, v]) => n in values || was[n] !== v);
      return { op: "update", table: name, key, values: Object.fromEntries(members) };
    });
    await this.discard(id);
  }

  /** Give a parked change up. */
  async discard(id: number): Promise<void> {
    await this.#parkedRecord(id);
    await this.#store.write(async (tx) => tx.removeRecord("parked", id));
    this.#count();
  }

  /** Push and pull now; resolves when hub and replica have told each other everything. Only needed
   * with `live: false`, or to be sure. */
  async sync(): Promise<SyncReport> {
    this.#refuseIfClosed();
    const keeper = this.#keeper;
    if (keeper !== null) return keeper.sync();
    let report: SyncReport | null = null;
    const led = await this.#tabs.tryLead(async () => {
      report = await this.#run((driver) => driver.sync(), null);
    });
    if (led) return report!;
    // This tab may have come to lead while it asked; then no other one would answer.
    return this.#keeper !== null ? this.#keeper.sync() : this.#syncByLeader();
  }

  /** Compare tables (none named: all) with the hub's, and fetch the rows that differ; how many. */
  async repair(tables?: readonly string[]): Promise<number> {
    await this.sync();
    const names = tables ?? (await this.tables());
    const { Repair } = await rare();
    const { nowMs } = this.#settings.device;
    const found = await new Repair(this.#store, this.#conversation(null), nowMs).gather(names);
    await this.sync();
    return found ?? 0;
  }

  /** Stop, and let go of the database. What is pending stays there for the next time. */
  close(): Promise<void> {
    return this.#end(CLOSED);
  }

  async #end(why: ReuniteError): Promise<void> {
    if (this.#closed) return;
    this.#closed = why;
    for (const end of this.#endings) end();
    this.#closing.abort(why);
    for (const answer of this.#waiting.values()) answer({ error: why, report: null });
    this.#waiting.clear();
    this.#watching.stop();
    this.#keeper?.stop();
    this.#tabs.close();
    await this.#writing;
    await this.#busy;
    this.#store.close(why);
    this.#line = { phase: "stopped", error: why === CLOSED ? null : why };
    this.#setStatus({ ...this.#line, isLeader: false });
    for (const set of Object.values(this.#listeners)) set.clear();
  }

  // -- what tables use ----------------------------------------------------------------------------

  row(name: string, key: KeyLike): Promise<RowObject | null> {
    return this.#store.read(async (tx) => {
      const table = tableIn(tx.tables, name);
      const row = await tx.row(name, wireKey(table, key));
      return row === null ? null : this.#forms.object(table, row);
    });
  }

  rows(name: string, query: QueryParts): Promise<RowObject[]> {
    return this.#store.read(async (tx) => {
      const table = tableIn(tx.tables, name);
      return chosen(table, this.#forms, query, await tx.rows(table));
    });
  }

  watch(name: string, query: QueryParts, callback: (rows: RowObject[]) => void): () => void {
    needFunction(callback);
    this.#refuseIfClosed();
    return this.#watching.watch(name, query, callback);
  }

  /** One write, at once; the key of its row. `uid` is the change's own, if it is to be known. */
  async write(
    name: string,
    write: (table: Table) => Write,
    uid: string | null = null,
  ): Promise<unknown> {
    const device =
      uid === null ? this.#settings.device : { ...this.#settings.device, newId: () => uid };
    const { key, table, done } = await writeAtOnce(this.#store, device, (of) => write(of(name)));
    this.#announce(done, true);
    return this.#forms.key(table, key);
  }

  // -- beginning ----------------------------------------------------------------------------------

  /** Be a filled replica of this hub; called once, by `connect`. */
  async begin(url: string, tables: readonly string[] | null, where: Wheres): Promise<void> {
    const clone = async () => {
      if ((await this.#state()).isReady) return;
      const { Cloning } = await rare();
      const cloning = new Cloning(this.#store, this.#conversation(null), this.#settings.device);
      if (!(await this.#state()).replica) await cloning.register(url, tables, where);
      await cloning.fill();
      this.#tabs.post({ type: "ready" });
    };
    let isHung = false;
    while (!(await this.#state()).isReady) {
      // Another tab may be at it; one that does not answer is not waited for.
      if (await this.#tabs.tryLead(clone, isHung)) continue;
      this.#tabs.check(() => {
        isHung = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await this.#take(tables, where);
    await this.#counted();
    if (this.#settings.isLive) this.#goLive();
  }

  /** Ask for these tables from now on; a replica may be opened with others than before. */
  async #take(tables: readonly string[] | null, where: Wheres): Promise<void> {
    const wanted = JSON.stringify([tables, where]);
    await this.#store.write(async (tx) => {
      const { state } = tx;
      if (JSON.stringify([state.tables, state.where]) === wanted) return;
      Object.assign(state, { tables, where, cursor: state.checkpoint, repaired: null });
      Object.assign(state, { nextSchemas: null, nextRevision: "", nextGenerations: {} });
      tx.clear("inbox");
    });
  }

  #goLive(): void {
    const begin = () => this.#startKeeper();
    const take = () => void this.#tabs.lead(begin, true);
    void this.#tabs.lead(begin);
    this.#tabs.post({ type: "hello" });
    const hurry = () => {
      if (globalThis.document?.visibilityState === "hidden") return;
      this.#keeper?.hurry();
      this.#tabs.check(take);
    };
    this.#listen("online", hurry);
    this.#listen("offline", () => this.#keeper?.breakOff());
    this.#listen("pageshow", hurry);
    this.#listen("visibilitychange", hurry, globalThis.document);
    this.#checkLeader = () => this.#tabs.check(take);
    // A leader that was frozen says nothing, and nothing else may happen here either.
    const look = () => globalThis.document?.visibilityState !== "hidden" && this.#tabs.check(take);
    const timer = setInterval(look, 3 * this.#settings.pongMs);
    (timer as { unref?: () => void }).unref?.();
    this.#endings.push(() => clearInterval(timer));
  }

  #checkLeader = (): void => {};

  #listen(name: string, callback: () => void, target: EventTarget = globalThis): void {
    if (typeof target?.addEventListener !== "function") return;
    target.addEventListener(name, callback);
    this.#endings.push(() => target.removeEventListener(name, callback));
  }

  #startKeeper(): () => Promise<void> {
    const keeper = new Keeper(
      {
        transport: this.#transport,
        state: () => this.#state(),
        run: (work, signal) => this.#run(work, signal),
        tell: (phase, error) => this.#tell(phase, error),
        pass: () => this.#tabs.pass(),
      },
      this.#settings.times,
      this.#failures,
    );
    this.#keeper = keeper;
    this.#setStatus({ isLeader: true });
    const running = keeper.run();
    // What the leader before did not answer is this tab's to do.
    for (const id of this.#waiting.keys()) void this.#answerSync(id);
    return async () => {
      keeper.stop();
      await running;
      this.#failures = keeper.failures;
      if (this.#keeper === keeper) this.#keeper = null;
      this.#setStatus({ isLeader: false });
    };
  }

  // -- talking to the hub -------------------------------------------------------------------------

  /** Work with a driver, one at a time in this tab. */
  #run<Result>(
    work: (driver: Driver) => Promise<Result>,
    signal: AbortSignal | null,
  ): Promise<Result> {
    const next = this.#busy.then(() => {
      const hub = this.#conversation(signal ?? this.#closing.signal);
      const announce = (done: Applied) => this.#announce(done, false);
      return work(new Driver(this.#store, hub, this.#settings.device, announce));
    });
    this.#busy = next.catch(() => {});
    return next;
  }

  #conversation(signal: AbortSignal | null): Conversation {
    const tell = (progress: Progress) => this.#emit("progress", progress);
    return new Conversation(this.#transport, this.#settings.label, tell, signal);
  }

  #state(): Promise<State> {
    return this.#store.read(async (tx) => tx.state);
  }

  /** Ask the tab that leads to sync. */
  #syncByLeader(): Promise<SyncReport> {
    const id = this.#settings.device.newId();
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ error, report }) => {
        if (error === null) resolve(report!);
        else reject(new ReuniteError(error.code, error.message));
      });
      this.#tabs.post({ type: "sync", id });
      this.#checkLeader();
    });
  }

  // -- telling ------------------------------------------------------------------------------------

  /** Something is different: tell whoever listens, here and in other tabs. */
  #announce(done: Applied, isLocal: boolean): void {
    const hasRows = done.changed.size > 0;
    if (hasRows) {
      const changes = [...done.changed].map(
        ([table, keys]) => [table, keys === null ? null : [...keys.values()]] as const,
      );
      this.#watching.changed(new Map(changes));
      this.#tabs.post({ type: "changed", changes });
    }
    if (done.conflicts.length > 0 || done.parked.length > 0) {
      const { conflicts, parked } = done;
      this.#tabs.post({ type: "records", conflicts, parked });
      this.#tellRecords(conflicts, parked);
    }
    if (isLocal && hasRows) {
      if (this.#keeper !== null) this.#keeper.nudge();
      else {
        this.#tabs.post({ type: "written" });
        this.#checkLeader();
      }
    }
    this.#count();
  }

  #hear(message: Message): void {
    switch (message.type) {
      case "changed":
        this.#watching.changed(new Map(message.changes) as Changes);
        this.#count();
        return;
      case "records":
        this.#tellRecords(message.conflicts, message.parked);
        return;
      case "written":
        this.#keeper?.nudge();
        return;
      case "hello":
        if (this.#keeper !== null) this.#postLine();
        return;
      case "line":
        if (this.#keeper === null) this.#hearLine(message.line);
        return;
      case "sync":
        if (this.#keeper !== null) void this.#answerSync(message.id);
        return;
      case "synced":
        this.#hearSynced(message.id, message as SyncAnswer);
    }
  }

  /** Sync, and say so to the tab that asked; it may be this one. */
  async #answerSync(id: string): Promise<void> {
    let answer: SyncAnswer;
    try {
      answer = { error: null, report: await this.#keeper!.sync() };
    } catch (error) {
      const { code, message } = asError(error);
      answer = { error: { code, message }, report: null };
    }
    this.#hearSynced(id, answer);
    this.#tabs.post({ type: "synced", id, ...answer });
  }

  #hearSynced(id: string, answer: SyncAnswer): void {
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }

  #tellRecords(conflicts: readonly ConflictRecord[], parked: readonly ParkedRecord[]): void {
    void this.#store
      .read(async (tx) => {
        return {
          conflicts: conflicts.map((record) => this.#shown.conflict(tx.tables, record)),
          parked: parked.map((record) => this.#shown.parked(tx.tables, record)),
        };
      })
      .then((found) => {
        for (const conflict of found.conflicts) this.#emit("conflict", conflict);
        for (const change of found.parked) this.#emit("rejected", change);
      })
      .catch((error) => this.#fail(error));
  }

  #tell(phase: Phase, error: ReuniteError | null): void {
    this.#line = { phase, error };
    this.#setStatus(this.#line);
    this.#postLine();
  }

  #postLine(): void {
    const { phase, error } = this.#line;
    const said = error === null ? null : { code: error.code, message: error.message };
    this.#tabs.post({ type: "line", line: { phase, error: said } });
  }

  #hearLine(line: unknown): void {
    const { phase, error } = line as {
      phase: Phase;
      error: { code: string; message: string } | null;
    };
    this.#line = { phase, error: error && new ReuniteError(error.code, error.message) };
    this.#setStatus(this.#line);
  }

  /** Count again what is pending, parked and open, soon. */
  #count(): void {
    this.#wasCountWanted = true;
    if (this.#isCounting || this.#closed) return;
    this.#isCounting = true;
    void (async () => {
      try {
        while (this.#wasCountWanted && !this.#closed) {
          this.#wasCountWanted = false;
          await this.#counted();
        }
      } catch (error) {
        this.#fail(error);
      } finally {
        this.#isCounting = false;
      }
    })();
  }

  async #counted(): Promise<void> {
    this.#setStatus(await this.#counting.counted(this.#current));
  }

  #setStatus(changes: Partial<Status>): void {
    const names = Object.keys(changes) as (keyof Status)[];
    if (names.every((name) => this.#current[name] === changes[name])) return;
    this.#current = { ...this.#current, ...changes };
    this.#emit("status", this.#current);
  }

  #emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const callback of [...this.#listeners[name]]) {
      try {
        callback(event);
      } catch (error) {
        // A listener's own mistake is the page's to see, and no reason to stop.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** Something failed that nobody waits for. */
  #fail(error: unknown): void {
    if (this.#closed || isError(error, "closed")) return;
    this.#emit("error", asError(error));
  }

  async #parkedRecord(id: number): Promise<ParkedRecord> {
    const found = await this.#store.read((tx) => tx.parkedOf(Number(id) || 0));
    if (found !== undefined) return found;
    throw badRequest(`There is no parked change ${id}.`);
  }

  /** The browser has taken the replica's database away. */
  lose(): void {
    if (this.#closed) return;
    this.#keeper?.stop();
    this.#fail(lost());
    void this.#end(lost());
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw this.#closed;
  }
}
