/**
 * The messages of the protocol, as `docs/protocol.md` has them.
 *
 * The rule: names are those of the wire. Members with a default may be missing in answers.
 */

import type { Conflict, Op, Outcome } from "../core/change.js";
import type { TableSchema } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";

export const PROTOCOL_VERSION = 1;

/** An expression that chooses rows of one table, in its JSON form. */
export type Expression = { readonly [name: string]: unknown };
export type Wheres = { readonly [table: string]: Expression };

export interface KeyBlock {
  readonly table: string;
  readonly first: number;
  readonly last: number;
}

export interface RegisterRequest {
  readonly protocol: number;
  readonly name: string;
  readonly tables: readonly string[] | null;
  readonly where: Wheres;
}

export interface RegisterAnswer {
  readonly replica: string;
  readonly epoch: string;
  readonly tables: readonly TableSchema[];
  readonly blocks: readonly KeyBlock[];
  readonly stamp: string;
  readonly mark: number;
  readonly whose?: string;
}

export interface SchemaAnswer {
  readonly epoch: string;
  readonly tables: readonly TableSchema[];
}

export interface Run {
  readonly table: string;
  readonly op: Op;
  readonly columns: readonly string[];
  readonly mark: number;
  readonly covered: number;
  readonly stamps: readonly string[];
  readonly ids: readonly string[];
  readonly keys?: readonly Key[];
  readonly old_keys?: readonly Key[];
  readonly set?: readonly Row[];
  readonly was?: readonly Row[];
}

/** A part of a group that is too large for one push. */
export interface Part {
  readonly of: string;
  readonly begins: number;
  readonly continues?: boolean;
}

export interface GroupMessage {
  readonly runs: readonly Run[];
  readonly part?: Part;
}

export interface Former {
  readonly replica: string;
  readonly n: number;
}

export interface PushRequest {
  readonly protocol: number;
  readonly epoch: string;
  readonly replica: string;
  readonly known: number;
  readonly known_id: string;
  readonly first_n: number;
  readonly schemas: Readonly<Record<string, number>>;
  readonly groups: readonly GroupMessage[];
  readonly checkpoint: string | null;
  readonly lease: Readonly<Record<string, number>>;
  readonly formers: readonly Former[];
}

export interface OutcomeMessage extends Outcome {
  readonly n: number;
  readonly id: string;
}

export interface PushAnswer {
  readonly first_n: number;
  readonly last_n: number;
  readonly outcomes: readonly OutcomeMessage[];
  readonly stamp: string;
  readonly staged?: number | null;
  readonly renumber?: { readonly n: number; readonly table: string; readonly key: Key } | null;
  readonly blocks?: readonly KeyBlock[];
}

export interface PullRequest {
  readonly protocol: number;
  readonly replica: string;
  readonly known: number;
  readonly known_id: string;
  readonly cursor: string | null;
  readonly tables: readonly string[] | null;
  readonly where: Wheres;
  readonly limit?: number;
  readonly wait_s?: number;
  readonly repaired?: string | null;
}

/** Rows of one table as arrays in the order of `columns`. `reset` occurs in an inbox only. */
export interface TablePage {
  readonly table: string;
  readonly columns?: readonly string[];
  readonly puts?: readonly Row[];
  readonly deletes?: readonly Key[];
  readonly evicts?: readonly Key[];
  readonly erases?: readonly Key[];
  readonly reset?: boolean;
}

export interface Page {
  readonly cursor: string;
  readonly stamp: string;
  readonly schemas: Readonly<Record<string, number>>;
  readonly revision?: string;
  readonly generations?: Readonly<Record<string, string>>;
  readonly tables?: readonly TablePage[];
  readonly more?: boolean;
  readonly checkpoint?: boolean;
  readonly reset?: boolean;
  readonly answered?: number | null;
  readonly mark?: number | null;
  readonly outcomes?: readonly OutcomeMessage[];
  readonly progress?: { readonly rows_total: number } | null;
}

export interface Problem {
  readonly code?: string;
  readonly detail?: string;
  readonly title?: string;
  readonly path?: string;
  readonly limit?: string;
  readonly retry_after_s?: number;
}

export type { Conflict };
