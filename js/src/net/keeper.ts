/**
 * The keeper: keeps a replica and its hub together while there is a line between them.
 *
 *     sync ──► open a stream ──► its pages, as they come ──► the line breaks, or the hub says: pull
 *       ▲          │                 local writes: push                  │
 *       │          └─ none comes through (a proxy gathers it): pulls that wait
 *       └───────────────── after a pause by chance, longer each time ◄───┘
 *
 * Twin of `src/reunite/replica/live.py`. A page of a stream is taken by `Driver.keep`, as one that
 * was pulled.
 * The rule: whatever is out of the ordinary (another schema, an identity that was lost, a page that
 * does not follow) ends in an ordinary sync.
 */

import { parseJson } from "../core/json_text.js";
import { isError, LOST_IDENTITY, ReuniteError } from "../errors.js";
import type { Page, Problem } from "../protocol/messages.js";
import { rare } from "../rare/load.js";
import { bringsNothing, fits } from "../replica/conversation.js";
import type { Driver, SyncReport } from "../replica/driver.js";
import { generationGaps } from "../replica/generations.js";
import type { State } from "../replica/state.js";
import { eventsOf, type ServerEvent } from "./events.js";
import { errorOf, type Transport } from "./transport.js";

/** How the line stands; `polling` is live by pulls that wait, where streams do not come through. */
export type Phase = "connecting" | "live" | "polling" | "offline" | "stopped";

/** The times of a keeper, in milliseconds. */
export interface Times {
  /** Pauses are drawn between 0 and this, doubled with each failure in a row, up to the longest. */
  readonly pauseMs: number;
  readonly pauseMsMax: number;
  /** A stream's first event comes at once; without it something on the way gathers the answer. */
  readonly firstEventMs: number;
  /** A line that is silent for longer is dead: hubs give a sign of life every 15 seconds. */
  readonly silenceMs: number;
  /** How long a pull waits at the hub, and when the next stream is tried. */
  readonly waitMs: number;
  readonly streamAgainMs: number;
}

export const TIMES: Times = {
  pauseMs: 100,
  pauseMsMax: 30_000,
  firstEventMs: 10_000,
  silenceMs: 45_000,
  waitMs: 25_000,
  streamAgainMs: 600_000,
};

/** What a keeper asks of its database. `run` holds one driver at a time. */
export interface Link {
  readonly transport: Transport;
  state(): Promise<State>;
  run<Result>(work: (driver: Driver) => Promise<Result>, signal: AbortSignal): Promise<Result>;
  tell(phase: Phase, error: ReuniteError | null, retryInMs: number | null): void;
  /** Let another tab do it, if there may be one; whether it is so. */
  pass(): boolean;
}

/** What keeps one tab from the hub, and perhaps no other: its token, or that it was told to let go. */
const OWN = ["not-authenticated", "key-unknown", "key-expired", "closed"];

interface Line {
  readonly replica: string;
  after: string;
  answered: number | null;
  hasSpoken: boolean;
}

export class Keeper {
  readonly #over = new AbortController();
  #line: AbortController | null = null;
  #wake: (() => void) | null = null;
  #isPushWanted = false;
  #isSyncWanted = false;
  #syncs = 0;
  #streamAt = 0;
  #heardAt = 0;

  readonly #link: Link;
  readonly #times: Times;
  readonly #chance: () => number;
  /** In a row; those of a keeper before count on. */
  failures: number;

  constructor(link: Link, times: Times, failures = 0, chance: () => number = Math.random) {
    this.#link = link;
    this.#times = times;
    this.failures = failures;
    this.#chance = chance;
  }

  /** Keep the line until `stop`, or until another tab may have more luck. */
  async run(): Promise<void> {
    while (!this.#isOver) {
      let pauseMs = 0;
      let isOwn = false;
      try {
        this.#isSyncWanted = false;
        this.#isPushWanted = false;
        await this.#link.run((driver) => driver.sync(), this.#over.signal);
        await this.#hold();
      } catch (error) {
        if (this.#isOver) break;
        pauseMs = this.#pauseMs(error);
        isOwn = isError(error, ...OWN);
        this.#link.tell("offline", asError(error), pauseMs);
      }
      await this.#pause(pauseMs);
      if (isOwn && !this.#isSyncWanted && this.#syncs === 0 && this.#link.pass()) return;
    }
    this.#link.tell("stopped", null, null);
  }

  stop(): void {
    this.#over.abort(STOPPED);
    this.#line?.abort(STOPPED);
    this.#wake?.();
  }

  /** Something was written here. */
  nudge(): void {
    this.#isPushWanted = true;
    this.#wake?.();
  }

  /** The network is said to be back, or the page is looked at again: do not wait any longer. */
  hurry(): void {
    this.failures = 0;
    // A line that has been silent for too long while nobody could look is dead.
    if (this.#line !== null && Date.now() - this.#heardAt > this.#times.silenceMs) {
      this.#line.abort(SILENT);
    }
    this.#isSyncWanted = true;
    this.#wake?.();
  }

  /** The network is said to be gone: what is open is half open. */
  breakOff(): void {
    this.#line?.abort(SILENT);
  }

  /** An ordinary sync, at once. */
  async sync(): Promise<SyncReport> {
    this.#syncs += 1;
    const syncing = this.#link.run((driver) => driver.sync(), this.#over.signal);
    const report = await syncing.finally(() => {
      this.#syncs -= 1;
    });
    // If it brought anything, the line no longer stands where the replica does.
    this.#isSyncWanted = true;
    this.#wake?.();
    return report;
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** How long to wait after another failure: by chance, so that not all come back at once. */
  #pauseMs(error: unknown): number {
    this.failures += 1;
    const { pauseMs, pauseMsMax } = this.#times;
    const most = Math.min(pauseMs * 2 ** Math.min(this.failures, 20), pauseMsMax);
    const atLeast = isError(error) ? (error.details.retryAfterS ?? 0) * 1_000 : 0;
    return this.#chance() * most + atLeast;
  }

  async #pause(ms: number): Promise<void> {
    // Not by the device's clock, which people and networks set.
    const until = performance.now() + ms;
    while (!this.#isOver && !this.#isSyncWanted) {
      const left = until - performance.now();
      if (left <= 0) return;
      await this.#wait(left);
    }
  }

  /** Wait for so long, or until something happens. */
  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), Math.min(ms, 2 ** 31 - 1));
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  /** Keep a line until it ends. Throws what broke it. */
  async #hold(): Promise<void> {
    const state = await this.#link.state();
    const line: Line = {
      replica: state.replica,
      after: state.checkpoint ?? "",
      answered: null,
      hasSpoken: false,
    };
    const control = new AbortController();
    this.#line = control;
    const isStream = performance.now() >= this.#streamAt;
    let end: { readonly error: unknown } | null = null;
    const reading = (isStream ? this.#read(line, state, control) : this.#poll(state, control)).then(
      () => null,
      (error: unknown) => error,
    );
    void reading.then((error) => {
      end = { error };
      this.#wake?.();
    });
    try {
      while (end === null && !this.#isOver) {
        if (this.#isPushWanted) {
          this.#isPushWanted = false;
          await this.#link.run((driver) => driver.push(), control.signal);
        } else if (this.#isSyncWanted) {
          this.#isSyncWanted = false;
          if ((await this.#link.state()).checkpoint !== line.after) return;
        } else {
          await this.#wait(this.#times.silenceMs);
        }
      }
      const { error } = (end ?? { error: null }) as { error: unknown };
      if (error !== null && !this.#isOver) throw error;
    } finally {
      control.abort(STOPPED);
      this.#line = null;
      await reading;
    }
  }

  // -- a stream -----------------------------------------------------------------------------------

  async #read(line: Line, state: State, control: AbortController): Promise<void> {
    const { replica, after: cursor } = line;
    const { tables, where } = state;
    const { firstEventMs, silenceMs, streamAgainMs } = this.#times;
    let timer = setTimeout(() => control.abort(GATHERED), firstEventMs);
    const sign = () => {
      this.#heardAt = Date.now();
      if (!line.hasSpoken) return;
      clearTimeout(timer);
      timer = setTimeout(() => control.abort(SILENT), silenceMs);
    };
    try {
      const asked = { replica, cursor, tables, where };
      const stream = await this.#link.transport.live(asked, control.signal);
      if (stream === null) {
        this.#streamAt = performance.now() + streamAgainMs;
        return;
      }
      for await (const event of eventsOf(stream, control.signal, sign)) {
        if (!(await this.#take(line, event, control.signal))) return;
        sign();
      }
      control.signal.throwIfAborted();
    } catch (error) {
      if (control.signal.reason === GATHERED) {
        this.#streamAt = performance.now() + streamAgainMs;
        return;
      }
      throw control.signal.aborted ? control.signal.reason : broken(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Take what the line brought; whether it goes on. */
  async #take(line: Line, event: ServerEvent, signal: AbortSignal): Promise<boolean> {
    if (!line.hasSpoken && (event.name === "answered" || event.name === "page")) {
      line.hasSpoken = true;
      this.failures = 0;
      this.#link.tell("live", null, null);
    }
    const data = parseJson(event.data) as object;
    switch (event.name) {
      case "answered":
        line.answered = (data as { answered: number }).answered;
        return true;
      case "page": {
        const page = data as Page;
        return this.#keep(
          line,
          page.checkpoint ? { ...page, answered: line.answered } : page,
          signal,
        );
      }
      case "pull":
        return false;
      case "problem": {
        const problem = data as Problem & { status?: number };
        throw errorOf(problem, problem.status ?? 500, problem.retry_after_s);
      }
      default:
        return true;
    }
  }

  #keep(line: Line, page: Page, signal: AbortSignal): Promise<boolean> {
    return this.#link.run(async (driver) => {
      const state = await this.#link.state();
      // Meanwhile another tab may have taken another identity, of which the page does not speak.
      if (state.replica !== line.replica || !follows(state, page, line.after)) return false;
      let hasTaken = true;
      if (!bringsNothing(page, state)) {
        try {
          hasTaken = await driver.keep(page, line.after);
        } catch (error) {
          if (isError(error, ...LOST_IDENTITY)) return false;
          throw error;
        }
      }
      line.after = page.cursor;
      return hasTaken;
    }, signal);
  }

  // -- pulls that wait ----------------------------------------------------------------------------

  /** Pulls that wait at the hub, until one has brought something. */
  async #poll(state: State, control: AbortController): Promise<void> {
    const { polled } = await rare();
    this.#link.tell("polling", null, null);
    await polled(this.#link, state, this.#times.waitMs, this.#streamAt, control.signal, () => {
      this.failures = 0;
      this.#heardAt = Date.now();
    });
  }
}

const STOPPED = new ReuniteError("closed", "The line was closed.");
// Nobody is told: pulls that wait take the stream's place.
const GATHERED = new ReuniteError("hub-unreachable", "");
const SILENT = new ReuniteError("hub-unreachable", "The hub has been silent for too long.");

/** Whether a page that came without being asked for can be taken as it is. */
function follows(state: State, page: Page, after: string): boolean {
  if (state.cursor !== after || state.resendN > state.knownN) return false;
  const fit = fits(page, state.schemas, state.revision);
  if (!page.checkpoint || !fit) return fit;
  const known = Math.max(state.knownN, ...(page.outcomes ?? []).map((outcome) => outcome.n));
  const isKnown = typeof page.answered === "number" && page.answered <= known;
  return isKnown && Object.keys(generationGaps(state, page)).length === 0;
}

function broken(cause: unknown): unknown {
  return isError(cause) ? cause : new ReuniteError("hub-unreachable", "The line broke.", { cause });
}

export function asError(error: unknown): ReuniteError {
  if (isError(error)) return error;
  return new ReuniteError("error", String(error), { cause: error });
}
