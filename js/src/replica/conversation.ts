/**
 * What a replica and its hub say to each other, a question at a time.
 *
 * Twin of `src/reunite/replica/conversation.py` and `pages.py`.
 * The rule: nothing here changes the store. What an answer means for it is `driver.ts`'s.
 */

import type { TableSchema } from "../core/schema.js";
import { ReuniteError } from "../errors.js";
import type { Transport } from "../net/transport.js";
import {
  type Page,
  PROTOCOL_VERSION,
  type PullRequest,
  type PushAnswer,
  type PushRequest,
  type RegisterAnswer,
} from "../protocol/messages.js";
import { rare } from "../rare/load.js";
import type { State } from "./state.js";

/** Attempts of one sync to agree with the hub on who it is before it gives up. */
const TRIES_MAX = 5;

/** What an answer is not one without. */
const NEEDED: Readonly<Record<string, string>> = {
  register: "tables",
  schema: "tables",
  push: "outcomes",
  pull: "schemas",
};

/** Where a sync is: `rowsTotal` is known in a snapshot. */
export interface Progress {
  readonly phase: "clone" | "push" | "pull" | "compare";
  readonly rows: number;
  readonly bytes: number;
  readonly rowsTotal: number | null;
}

/** The questions of one sync over one transport. */
export class Conversation {
  #tries = 0;

  readonly #transport: Transport;
  readonly #name: string;
  readonly #onProgress: (progress: Progress) => void;
  readonly #signal: AbortSignal | null;

  constructor(
    transport: Transport,
    name: string,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal | null = null,
  ) {
    this.#transport = transport;
    this.#name = name;
    this.#onProgress = onProgress;
    this.#signal = signal;
  }

  async call<Answer>(operation: string, message: unknown = null): Promise<Answer> {
    const answer = await this.#transport.call<Answer>(operation, message, this.#signal);
    const name = NEEDED[operation];
    if (name && !answer?.[name as keyof Answer]) throw strange();
    return answer;
  }

  register(state: Pick<State, "tables" | "where">): Promise<RegisterAnswer> {
    const { tables, where } = state;
    return this.call("register", { protocol: PROTOCOL_VERSION, name: this.#name, tables, where });
  }

  push(request: PushRequest): Promise<PushAnswer> {
    return this.call("push", request);
  }

  /** The page after the state's cursor. */
  pull(state: State): Promise<Page> {
    return this.call("pull", pullRequest(state));
  }

  /** The hub's schemas, if they are others than the replica has. Throws `schema-changed` if the
   * hub's tables have other versions by now than the page is written in. */
  async schemasFor(page: Page, state: State): Promise<readonly TableSchema[] | null> {
    if (fits(page, state.schemas, state.revision)) return null;
    if (state.nextSchemas !== null && fits(page, state.nextSchemas, state.nextRevision)) {
      return state.nextSchemas;
    }
    const { schemasOf } = await rare();
    return schemasOf(this, page);
  }

  /** Count an attempt that came to nothing. Throws the error after too many. */
  tryAgain(error: unknown): void {
    this.#tries += 1;
    if (this.#tries > TRIES_MAX) throw error;
  }

  tell(phase: Progress["phase"], rows: number, rowsTotal: number | null = null): void {
    this.#onProgress({ phase, rows, bytes: this.#transport.bytes, rowsTotal });
  }
}

/** An answer that no hub gives: something on the way made another one of it. */
export function strange(): ReuniteError {
  const message = "The hub's answer is none. Nothing is lost: it is tried again.";
  return new ReuniteError("hub-unreachable", message);
}

/** The question for the page after the state's cursor. */
export function pullRequest(state: State): PullRequest {
  return {
    protocol: PROTOCOL_VERSION,
    replica: state.replica,
    known: state.knownN,
    known_id: state.knownId,
    cursor: state.cursor,
    tables: state.tables,
    where: state.where,
    repaired: state.repaired,
  };
}

/** Whether a page means these schemas. */
export function fits(page: Page, schemas: readonly TableSchema[], revision: string): boolean {
  return (page.revision ?? "") === revision && haveVersions(schemas, page);
}

/** Whether a page means these versions of the tables. */
export function haveVersions(schemas: readonly TableSchema[], page: Page): boolean {
  return (
    schemas.length === Object.keys(page.schemas).length &&
    schemas.every((schema) => page.schemas[schema.name] === (schema.version ?? 1))
  );
}

/** Whether the page only says that the replica shows the hub's newest state already. */
export function bringsNothing(page: Page, state: State): boolean {
  return (
    page.checkpoint === true &&
    (page.tables ?? []).length === 0 &&
    (page.outcomes ?? []).length === 0 &&
    page.cursor === state.checkpoint &&
    page.cursor === state.cursor &&
    state.repaired === null &&
    page.answered === state.coveredN &&
    page.answered === state.knownN &&
    state.nextSchemas === null &&
    fits(page, state.schemas, state.revision)
  );
}
