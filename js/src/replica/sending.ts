/**
 * What to push next: whole groups of the outbox, or a part of a large one, as runs of a message.
 *
 * Twin of `src/reunite/replica/sending.py`.
 */

import { writeJson } from "../core/json_text.js";
import type { Tables } from "../core/schema.js";
import type { Row } from "../core/values.js";
import {
  type GroupMessage,
  type Part,
  PROTOCOL_VERSION,
  type PushRequest,
  type Run,
} from "../protocol/messages.js";
import { rareNow } from "../rare/load.js";
import { changedColumns, groupsOf, type Pending } from "./pending.js";
import type { State } from "./state.js";

/** The largest group that travels whole; larger ones go in parts. */
const WHOLE_MAX = 20_000;
const WHOLE_BYTES_MAX = 8 * 1024 * 1024;
export const PART_BYTES_MAX = 4 * 1024 * 1024;

/** Changes to send together. With `part` they are a part of a single group. */
export interface Batch {
  readonly pendings: readonly Pending[];
  readonly part: Part | null;
}

/** The whole groups to push next out of these unanswered changes, while they stay below `changes`;
 * the first one always, in parts if it is large. `newId` names an attempt to push in parts. */
export function nextBatch(
  waiting: readonly Pending[],
  changes: number,
  newId: () => string,
): Batch | null {
  const taken: Pending[] = [];
  let size = 0;
  for (const group of groupsOf(waiting)) {
    const bytes = sizeOf(group);
    if (taken.length === 0 && (group.length > WHOLE_MAX || bytes > WHOLE_BYTES_MAX)) {
      return rareNow().nextPart(group, { of: newId(), begins: group[0]!.n });
    }
    if (
      taken.length > 0 &&
      (taken.length + group.length > changes || size + bytes > PART_BYTES_MAX)
    ) {
      break;
    }
    taken.push(...group);
    size += bytes;
  }
  return taken.length === 0 ? null : { pendings: taken, part: null };
}

/** The push that carries a batch (null: none), and asks for blocks of keys. */
export function requestWith(
  state: State,
  tables: Tables,
  batch: Batch | null,
  lease: Readonly<Record<string, number>>,
): PushRequest {
  const pendings = batch?.pendings ?? [];
  const names = new Set(pendings.map((pending) => pending.table));
  return {
    protocol: PROTOCOL_VERSION,
    epoch: state.epoch,
    replica: state.replica,
    known: state.knownN,
    known_id: state.knownId,
    first_n: pendings[0]?.n ?? state.knownN + 1,
    schemas: Object.fromEntries([...names].map((name) => [name, tables.get(name)!.version])),
    groups: groupsOf(pendings).map((group) => messageOf(tables, group, batch?.part ?? null)),
    checkpoint: state.checkpoint,
    lease,
    formers: state.formers,
  };
}

function messageOf(tables: Tables, group: readonly Pending[], part: Part | null): GroupMessage {
  const runs: Run[] = [];
  let alike: Pending[] = [];
  let shape = "";
  const finish = () => {
    if (alike.length > 0) runs.push(runOf(tables, alike));
    alike = [];
  };
  for (const pending of group) {
    const now = shapeOf(pending);
    if (now !== shape) finish();
    shape = now;
    alike.push(pending);
  }
  finish();
  return part === null ? { runs } : { runs, part };
}

/** Neighbours that have this alike may be one run. */
function shapeOf(pending: Pending): string {
  const { table, op, mark, covered, oldKey } = pending;
  const places = op === "update" ? changedColumns(pending) : [];
  return JSON.stringify([table, op, mark, covered, oldKey !== null, places]);
}

function runOf(tables: Tables, pendings: readonly Pending[]): Run {
  const first = pendings[0]!;
  const { names } = tables.get(first.table)!;
  const places = first.op === "update" ? changedColumns(first) : [...names.keys()];
  const pick = (row: Row | null) => places.map((place) => row![place]!);
  const stamps = pendings.map((pending) => pending.stamp);
  return {
    table: first.table,
    op: first.op,
    columns: places.map((place) => names[place]!),
    mark: first.mark,
    covered: first.covered,
    stamps: new Set(stamps).size === 1 ? stamps.slice(0, 1) : stamps,
    ids: pendings.map((pending) => pending.uid),
    ...(first.op !== "insert" && { keys: pendings.map((pending) => pending.key) }),
    ...(first.oldKey !== null && { old_keys: pendings.map((pending) => pending.oldKey!) }),
    ...(first.op !== "delete" && { set: pendings.map((pending) => pick(pending.row)) }),
    ...(first.op !== "insert" && { was: pendings.map((pending) => pick(pending.old)) }),
  };
}

export function sizeOf(group: readonly Pending[]): number {
  return group.reduce((sum, { old, row }) => sum + lengthOf(old) + lengthOf(row), 0);
}

function lengthOf(row: Row | null): number {
  return row === null ? 0 : writeJson(row).length;
}
