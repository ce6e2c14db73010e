/**
 * Merge: what the replica saw, what it wants and what the hub has, column by column.
 *
 *     counter, union             always applied: hub + mine - base, and the like for arrays
 *     hub still has base         mine
 *     base is mine               theirs: the replica changed nothing
 *     hub already has mine       theirs
 *     else a conflict            the column's policy decides, and the conflict records all values
 *
 * Twin of `src/reunite/core/merge.py`; `conformance/merge/` is the definition.
 */

import type { Conflict } from "./change.js";
import type { Column, ColumnMerge, Table } from "./schema.js";
import { add, canonical, isWrittenAlike, larger, type Row, same, type Value } from "./values.js";

/** What decides a column of the policy `custom`; must be pure. */
export type MergeFunction = (base: Value, theirs: Value, mine: Value) => Value;

/** The whole merged row, and of it the `columns` and `values` that are others than the hub's. */
export interface Merged {
  readonly row: Row;
  readonly columns: readonly string[];
  readonly values: readonly Value[];
  readonly conflicts: readonly Conflict[];
}

/** A change of some columns that meets the hub's row `theirs`; `base` null is for an insert. */
export interface Meeting {
  readonly columns: readonly string[];
  readonly base: readonly Value[] | null;
  readonly mine: readonly Value[];
  readonly theirs: Row;
}

/** What only a hub knows: stamps of its own values. Those that are missing count as older. */
export interface Judge {
  readonly stamp: string;
  readonly hubStamps: Readonly<Record<string, string>>;
  readonly functions: ReadonlyMap<string, MergeFunction>;
}

/** Merge an update (`base`: what the replica saw) or an insert (`base` null) into the hub's row. */
export function mergeRow(table: Table, meeting: Meeting, judge: Judge): Merged {
  const row = [...meeting.theirs];
  const [columns, values, conflicts]: [string[], Value[], Conflict[]] = [[], [], []];
  meeting.columns.forEach((name, index) => {
    const position = table.position.get(name)!;
    const [hub, mine] = [row[position]!, meeting.mine[index]!];
    const seen = meeting.base === null ? undefined : meeting.base[index]!;
    const found = mergeValue(table.columns[position]!, seen, mine, hub, judge);
    if (found.conflict !== undefined) conflicts.push(found.conflict);
    if (!isWrittenAlike(found.value, hub)) {
      row[position] = found.value;
      columns.push(name);
      values.push(found.value);
    }
  });
  return { row, columns, values, conflicts };
}

/** The columns in conflict whose policy asks for the hub's stamp: last_writer and custom. */
export function conflictingColumns(table: Table, meeting: Meeting): string[] {
  return meeting.columns.filter((name, index) => {
    const column = table.column(name);
    if (!NEEDS_STAMP.has(policyOf(column))) return false;
    const [hub, mine] = [meeting.theirs[table.position.get(name)!]!, meeting.mine[index]!];
    const seen = meeting.base === null ? undefined : meeting.base[index]!;
    if (seen !== undefined && (same(column.type, hub, seen) || same(column.type, mine, seen))) {
      return false;
    }
    return !same(column.type, hub, mine);
  });
}

/** The row a replica shows: its pending change merged onto the hub's row. Only the hub has the
 * stamps, so a pending value of a last_writer column, or of a custom one without its function, is
 * shown on top. `base` null is for a pending insert whose key the hub has, too. */
export function overlay(
  table: Table,
  meeting: Meeting,
  functions: ReadonlyMap<string, MergeFunction> = NO_FUNCTIONS,
): Row {
  const shown = new Map(functions);
  for (const column of table.columns) {
    if (policyOf(column) === "custom" && !shown.has(column.name)) shown.set(column.name, takeMine);
  }
  return mergeRow(table, meeting, { stamp: "", hubStamps: {}, functions: shown }).row;
}

const NO_FUNCTIONS: ReadonlyMap<string, MergeFunction> = new Map();
const NEEDS_STAMP: ReadonlySet<ColumnMerge> = new Set(["last_writer", "custom"]);
const takeMine: MergeFunction = (_base, _theirs, mine) => mine;

function policyOf(column: Column): ColumnMerge {
  return column.merge ?? "last_writer";
}

interface Found {
  readonly value: Value;
  readonly conflict?: Conflict;
}

/** `seen` undefined: the replica saw no row, which is not the same as null in one. */
function mergeValue(
  column: Column,
  seen: Value | undefined,
  mine: Value,
  hub: Value,
  judge: Judge,
): Found {
  if (seen !== undefined) {
    if (same(column.type, hub, seen)) return { value: mine };
    if (same(column.type, mine, seen)) return { value: hub };
  }
  const base = seen ?? null;
  const policy = policyOf(column);
  if (policy === "counter" || policy === "union") {
    try {
      const isCounter = policy === "counter";
      return { value: isCounter ? add(column.type, hub, base, mine) : unite(hub, base, mine) };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return conflictOf(column, base, hub, mine, hub, true);
    }
  }
  if (same(column.type, hub, mine)) return { value: hub };
  return decide(column, base, mine, hub, judge);
}

/** Both sides changed the column, to different values: what its policy says. */
function decide(column: Column, base: Value, mine: Value, hub: Value, judge: Judge): Found {
  const policy = policyOf(column);
  const decides = policy === "custom" ? judge.functions.get(column.name) : undefined;
  if (decides !== undefined) {
    return conflictOf(column, base, hub, mine, decides(base, hub, mine), false);
  }
  const wins =
    policy === "replica_wins" ||
    (policy === "last_writer" && judge.stamp >= (judge.hubStamps[column.name] ?? "")) ||
    (policy === "maximum" && larger(column.type, mine, hub)) ||
    (policy === "minimum" && larger(column.type, hub, mine));
  const isOpen = policy === "ask" || policy === "custom";
  return conflictOf(column, base, hub, mine, wins ? mine : hub, isOpen);
}

function conflictOf(
  column: Column,
  base: Value,
  hub: Value,
  mine: Value,
  result: Value,
  isOpen: boolean,
): Found {
  const policy = policyOf(column);
  const conflict = { column: column.name, base, hub, replica: mine, result, policy };
  return { value: result, conflict: isOpen ? { ...conflict, is_open: true } : conflict };
}

/** The hub's array without what the replica removed and with what it added, at the end. */
function unite(hub: Value, base: Value, mine: Value): Value {
  const [here, before, after] = [hub, base, mine].map(elements) as [Members, Members, Members];
  const added = [...after].filter(([text]) => !before.has(text) && !here.has(text));
  const removed = [...before.keys()].filter((text) => !after.has(text));
  if (added.length === 0 && !removed.some((text) => here.has(text))) return hub;
  const gone = new Set(removed);
  const kept = ((hub ?? []) as Value[]).filter(
    (item) => !gone.has(String(canonical("json", item))),
  );
  return [...kept, ...added.map(([, item]) => item)];
}

type Members = ReadonlyMap<string, Value>;

function elements(value: Value): Members {
  if (value !== null && !Array.isArray(value)) throw new RangeError("A union is of arrays.");
  return new Map((value ?? []).map((item: Value) => [String(canonical("json", item)), item]));
}
