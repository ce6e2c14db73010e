/**
 * Table schemas: what a row of a table looks like, wherever it lives.
 *
 * Twin of `src/reunite/core/schema.py`. The interfaces are what `GET v1/schema` sends; `Table` is
 * one of them with what is computed from it.
 * The rule: a row is an array of values in the order of the schema's columns.
 */

import type { Key, Row } from "./values.js";

export type ColumnType =
  | "integer"
  | "real"
  | "text"
  | "blob"
  | "boolean"
  | "decimal"
  | "date"
  | "time"
  | "datetime"
  | "uuid"
  | "json"
  | "any";

export type ColumnMerge =
  | "last_writer"
  | "hub_wins"
  | "replica_wins"
  | "maximum"
  | "minimum"
  | "counter"
  | "union"
  | "ask"
  | "custom";

/** One stored column; `default` is the SQL text of its default, as declared at the hub. */
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable?: boolean;
  readonly default?: string | null;
  readonly merge?: ColumnMerge;
}

export interface ForeignKey {
  readonly columns: readonly string[];
  readonly parent: string;
  readonly parent_columns: readonly string[];
  readonly on_delete?: string;
  readonly on_update?: string;
}

export interface TableSchema {
  readonly name: string;
  readonly version?: number;
  readonly generation?: string;
  readonly columns: readonly Column[];
  readonly key: readonly string[];
  readonly generated_key?: boolean;
  readonly key_bits?: number;
  readonly foreign_keys?: readonly ForeignKey[];
  readonly uniques?: readonly { readonly columns: readonly string[] }[];
  readonly rows?: "delete_wins" | "update_wins";
}

/** A schema, with what every row of it asks for again and again. */
export class Table {
  readonly name: string;
  readonly version: number;
  readonly columns: readonly Column[];
  readonly names: readonly string[];
  readonly position: ReadonlyMap<string, number>;
  readonly key: readonly string[];
  readonly keyPositions: readonly number[];
  readonly hasGeneratedKey: boolean;
  readonly foreignKeys: readonly ForeignKey[];
  readonly updateWins: boolean;

  constructor(readonly schema: TableSchema) {
    this.name = schema.name;
    this.version = schema.version ?? 1;
    this.columns = schema.columns;
    this.names = schema.columns.map((column) => column.name);
    this.position = new Map(this.names.map((name, index) => [name, index]));
    this.key = schema.key;
    this.keyPositions = schema.key.map((name) => this.position.get(name)!);
    this.hasGeneratedKey = schema.generated_key ?? false;
    this.foreignKeys = schema.foreign_keys ?? [];
    this.updateWins = schema.rows === "update_wins";
  }

  /** The key of a whole row. */
  keyOf(row: Row): Key {
    return this.keyPositions.map((index) => row[index]!);
  }

  /** The column of this name, which must be there. */
  column(name: string): Column {
    return this.columns[this.position.get(name)!]!;
  }

  /** The largest key that reunite gives a row: one that its column and JSON can hold. */
  get generatedKeyMax(): number {
    return Math.min(2 ** ((this.schema.key_bits ?? 64) - 1), 2 ** 53) - 1;
  }

  /** How rows are written and what must be declared for them, as text: all but version,
   * generation, policies and unique constraints. */
  get shape(): string {
    return JSON.stringify([
      this.name,
      this.key,
      this.hasGeneratedKey,
      this.columns.map((c) => [c.name, c.type, c.nullable ?? true, c.default ?? null]),
      this.foreignKeys,
    ]);
  }
}

export type Tables = ReadonlyMap<string, Table>;

/** Tables by name. */
export function tablesOf(schemas: readonly TableSchema[]): Tables {
  return new Map(schemas.map((schema) => [schema.name, new Table(schema)]));
}

/** Whether a replica's table stays as it is, with its rows, when its schema changes so. */
export function isKept(before: Table, after: Table | undefined): boolean {
  return after !== undefined && before.version === after.version && before.shape === after.shape;
}
