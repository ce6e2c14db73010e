/**
 * Reshaping: what becomes of pending changes when the hub's table gets other columns.
 *
 *     column is there in both    its value stays
 *     column is new              its default, if that is a plain value, else null
 *     column is gone             its value leaves the change; it is kept for a person
 *     the key is another one     taken from the row, which must have a value for it
 *
 * Twin of `src/reunite/replica/reshaping.py`. A renamed column is one that is gone and one that is
 * new.
 */

import { defaultOf } from "../core/defaults.js";
import { faultOf } from "../core/faults.js";
import { keyText } from "../core/key.js";
import { isKept, type Table, type Tables } from "../core/schema.js";
import { isWrittenAlike, type Row, type Value } from "../core/values.js";
import { changedColumns, groupsOf, type Pending } from "./pending.js";

type Named = Record<string, Value>;

/** From one version of a table to the next. */
export class Reshaping {
  readonly #places: readonly (number | undefined)[];
  readonly #defaults: readonly Value[];
  readonly #lost: readonly string[];
  readonly #hasOtherKey: boolean;

  readonly #before: Table;
  readonly #after: Table;
  readonly #now: Date;

  constructor(before: Table, after: Table, now: Date) {
    this.#before = before;
    this.#after = after;
    this.#now = now;

    this.#places = after.names.map((name) => before.position.get(name));
    this.#defaults = after.columns.map((column) => defaultOf(column, now) ?? null);
    this.#lost = before.names.filter((name) => !after.position.has(name));
    this.#hasOtherKey = keyColumns(before) !== keyColumns(after);
  }

  /** Rewrite a change; where its key cannot be told, null stands in it. */
  apply(pending: Pending): void {
    const [old, row] = [this.#row(pending.old), this.#row(pending.row)];
    if (this.#hasOtherKey) {
      const target = this.#after.keyOf((row ?? old)!);
      const source = old === null ? target : this.#after.keyOf(old);
      pending.key = target;
      pending.oldKey = keyText(source) === keyText(target) ? null : source;
    }
    pending.old = old;
    pending.row = row;
  }

  /** Why this change cannot become one of the new table, if so. */
  fault(pending: Pending): string | null {
    const [old, row] = [this.#row(pending.old), this.#row(pending.row)];
    if (this.#hasOtherKey) {
      const keys = [old, row].filter((image) => image !== null).map((r) => this.#after.keyOf(r));
      if (keys.some((key) => key.some((value) => value === null))) {
        return `Its key is ${this.#after.key.join(", ")} now, which this change has no value for.`;
      }
    }
    let wanted = [...this.#after.names.keys()];
    if (pending.op === "update") {
      const changed = changedColumns(pending).map((index) => this.#before.names[index]!);
      if (changed.length > 0 && changed.every((name) => this.#lost.includes(name))) {
        return `It has no ${changed.join(", ")} any more.`;
      }
      wanted = wanted.filter((index) => changed.includes(this.#after.names[index]!));
    }
    if (row === null) return null;
    for (const index of wanted) {
      const { name, type } = this.#after.columns[index]!;
      const fault = faultOf(type, row[index]!);
      if (fault !== null)
        return `Column '${name}': ${typeof fault === "string" ? fault : fault[1]}`;
    }
    return null;
  }

  /** What the change replaced and set in columns that are gone, where it set something. */
  lostValues(pending: Pending): [Named, Named] {
    if (pending.row === null) return [{}, {}];
    const was: Named = {};
    const wanted: Named = {};
    for (const name of this.#lost) {
      const place = this.#before.position.get(name)!;
      const initial = defaultOf(this.#before.columns[place]!, this.#now) ?? null;
      const before = pending.old === null ? initial : pending.old[place]!;
      if (isWrittenAlike(before, pending.row[place]!)) continue;
      was[name] = before;
      wanted[name] = pending.row[place]!;
    }
    return [was, wanted];
  }

  #row(row: Row | null): Row | null {
    if (row === null) return null;
    return this.#places.map((place, i) => (place === undefined ? this.#defaults[i]! : row[place]!));
  }
}

/** What becomes of the changes of each table that has other columns now. */
export function reshapingsOf(before: Tables, after: Tables, now: Date): Map<string, Reshaping> {
  const found = new Map<string, Reshaping>();
  for (const [name, table] of after) {
    const old = before.get(name);
    if (old !== undefined && old.shape !== table.shape) {
      found.set(name, new Reshaping(old, table, now));
    }
  }
  return found;
}

/** The tables whose rows do not stay. */
export function madeAnew(before: Tables, after: Tables): Set<string> {
  const gone = [...before.values()].filter((table) => !isKept(table, after.get(table.name)));
  return new Set(gone.map((table) => table.name));
}

/** Give the groups in which a change cannot become one of the new table an outcome that says so;
 * all changes of them. */
export function refuseMisfits(
  reshapings: ReadonlyMap<string, Reshaping>,
  pendings: readonly Pending[],
): Pending[] {
  const refused: Pending[] = [];
  for (const group of groupsOf(pendings)) {
    const faults = group.map((pending) => reshapings.get(pending.table)?.fault(pending) ?? null);
    if (faults.every((fault) => fault === null)) continue;
    group.forEach((pending, index) => {
      const fault = faults[index];
      const reason = fault
        ? `The hub's table ${pending.table} is another one now. ${fault}`
        : "Another change of its transaction does not fit the hub's tables any more.";
      pending.outcome = { kind: "rejected", code: "schema-changed", reason };
    });
    refused.push(...group);
  }
  return refused;
}

function keyColumns(table: Table): string {
  return JSON.stringify(table.key.map((name) => [name, table.column(name).type]));
}
