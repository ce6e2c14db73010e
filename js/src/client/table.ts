/**
 * Tables and queries as a page holds them.
 */

import { badRequest, needFunction } from "../errors.js";
import type { Database } from "./database.js";
import { type KeyLike, type RowObject, wireKey } from "./forms.js";
import { type Condition, EVERYTHING, type QueryParts } from "./query.js";
import { insertOf, updateOf } from "./transaction.js";

/** Rows of a table that a page asks for. Each call gives a new query; the old one stays as it is. */
export class Query<T extends object = RowObject> {
  constructor(
    readonly database: Database,
    readonly name: string,
    readonly parts: QueryParts = EVERYTHING,
  ) {}

  /** Only rows with these values (an array: any of them), or for which the function is true. */
  where(condition: Condition<T>): Query<T> {
    const conditions = [...this.parts.conditions, condition as Condition<RowObject>];
    return new Query(this.database, this.name, { ...this.parts, conditions });
  }

  /** In the order of this column; a second call breaks ties of the first. */
  orderBy(column: keyof T & string, direction: "ascending" | "descending" = "ascending"): Query<T> {
    if (direction !== "ascending" && direction !== "descending") {
      throw badRequest(`An order is "ascending" or "descending", not '${direction}'.`);
    }
    const term = { column, isDescending: direction === "descending" };
    const order = [...this.parts.order, term];
    return new Query(this.database, this.name, { ...this.parts, order });
  }

  /** At most so many rows. */
  limit(limit: number): Query<T> {
    if (!(limit >= 0)) throw badRequest(`'${limit}' is no number of rows.`, "limit");
    return new Query(this.database, this.name, { ...this.parts, limit });
  }

  /** The rows, in the order of their keys unless another one was asked for. */
  all(): Promise<T[]> {
    return this.database.rows(this.name, this.parts) as Promise<T[]>;
  }

  /** Call back with the rows now, and again whenever they are others, whoever changed them; returns
   * what ends it. Rows that did not change stay the same objects. */
  live(callback: (rows: T[]) => void): () => void {
    return this.database.watch(this.name, this.parts, callback as (rows: RowObject[]) => void);
  }
}

/** One table of the replica. Writes are local at once and are sent when they can be. */
export class TableHandle<T extends object = RowObject> extends Query<T> {
  /** The row under this key, null if there is none. */
  get(key: KeyLike): Promise<T | null> {
    return this.database.row(this.name, key) as Promise<T | null>;
  }

  /** Call back with the row under this key now, null if there is none, and whenever it is another
   * one; returns what ends it. */
  liveRow(key: KeyLike, callback: (row: T | null) => void): () => void {
    needFunction(callback);
    const tell = ([row]: RowObject[]) => callback((row as T | undefined) ?? null);
    return this.database.watch(this.name, { ...EVERYTHING, key }, tell);
  }

  /** Make a row; its key, which the replica makes if none is given and the table allows it. */
  create(values: Partial<T>): Promise<unknown>;
  create(key: KeyLike, values: Partial<T>): Promise<unknown>;
  create(...given: [Partial<T>] | [KeyLike, Partial<T>]): Promise<unknown> {
    return this.database.write(this.name, (table) => insertOf(table, given));
  }

  /** Change some columns of a row. Throws `no-row`. */
  async update(key: KeyLike, values: Partial<T>): Promise<void> {
    await this.database.write(this.name, (table) => updateOf(table, key, values));
  }

  /** Delete a row. Throws `no-row`. */
  async delete(key: KeyLike): Promise<void> {
    await this.database.write(this.name, (table) => ({
      op: "delete",
      table: table.name,
      key: wireKey(table, key),
    }));
  }
}
