/**
 * A replica's state: who it is, how far it has read, which numbers it has given.
 *
 * One record, read and written inside the transaction that depends on it; nothing is kept between
 * transactions, because another tab may use the same replica.
 */

import type { TableSchema } from "../core/schema.js";
import type { Former, KeyBlock, RegisterAnswer, Wheres } from "../protocol/messages.js";

/**
 * `whose` tells the user that it is from others, if the hub said so;
 * `cursor` is where the next pull reads on (the end of the inbox), `checkpoint` the cursor of what
 * is shown, `repaired` that of the last repair's answer in the inbox. `knownN` is the last number
 * whose outcome is stored, `knownId` the id of that change until a checkpoint includes it,
 * `coveredN` the last one that the shown checkpoint includes, `resendN` the last one that must be
 * sent before the next pull (after a new identity). `blocks` hold the next key to give and the
 * last one, `granted` the whole blocks; `stamp` is the last one issued, `heardStamp` the last that
 * the hub's clock gave; `nextSchemas` are those of what gathers in the inbox, where they are
 * others; `revision` and `nextRevision` are what pages call the two; `generations` say up to which
 * gap in the hub's log of each table the rows that are shown are healed, `nextGenerations` those
 * that gather; `hasMisplaced` says that inserts may lie outside the blocks, `missingKeys` how many
 * more keys are needed to move them; `writes` counts what changed rows, so that a transaction sees
 * whether it was disturbed.
 */
export interface State {
  url: string;
  whose: string | undefined;
  replica: string;
  epoch: string;
  formers: readonly Former[];
  tables: readonly string[] | null;
  where: Wheres;
  schemas: readonly TableSchema[];
  revision: string;
  nextSchemas: readonly TableSchema[] | null;
  nextRevision: string;
  generations: Readonly<Record<string, string>>;
  nextGenerations: Readonly<Record<string, string>>;
  isReady: boolean;
  cursor: string | null;
  checkpoint: string | null;
  repaired: string | null;
  mark: number;
  nextN: number;
  knownN: number;
  knownId: string;
  coveredN: number;
  resendN: number;
  stamp: string;
  heardStamp: string;
  blocks: readonly KeyBlock[];
  granted: readonly KeyBlock[];
  hasMisplaced: boolean;
  missingKeys: Readonly<Record<string, number>>;
  writes: number;
  syncedMs: number;
}

export function newState(): State {
  return {
    url: "",
    whose: "",
    replica: "",
    epoch: "",
    formers: [],
    tables: null,
    where: {},
    schemas: [],
    revision: "",
    nextSchemas: null,
    nextRevision: "",
    generations: {},
    nextGenerations: {},
    isReady: false,
    cursor: null,
    checkpoint: null,
    repaired: null,
    mark: 0,
    nextN: 1,
    knownN: 0,
    knownId: "",
    coveredN: 0,
    resendN: 0,
    stamp: "",
    heardStamp: "",
    blocks: [],
    granted: [],
    hasMisplaced: false,
    missingKeys: {},
    writes: 0,
    syncedMs: 0,
  };
}

/** Be who the hub says. */
export function adopt(state: State, answer: RegisterAnswer): void {
  state.replica = answer.replica;
  state.epoch = answer.epoch;
  state.whose = answer.whose;
  state.blocks = answer.blocks;
  state.granted = answer.blocks;
  state.heardStamp = laterText(state.heardStamp, answer.stamp);
}

export function laterText(a: string, b: string): string {
  return a > b ? a : b;
}
