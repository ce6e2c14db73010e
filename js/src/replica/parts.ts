/**
 * Parts of a group that is too large to travel whole.
 */

import type { Part } from "../protocol/messages.js";
import type { Pending } from "./pending.js";
import { type Batch, PART_BYTES_MAX, sizeOf } from "./sending.js";

const PART_MAX = 10_000;

/** The next part of a group, of which these changes are not at the hub yet. */
export function nextPart(rest: readonly Pending[], begun: Part): Batch {
  let size = 0;
  let count = 0;
  while (count < rest.length && count < PART_MAX && (count === 0 || size < PART_BYTES_MAX)) {
    size += sizeOf([rest[count]!]);
    count += 1;
  }
  const { of, begins } = begun;
  return { pendings: rest.slice(0, count), part: { of, begins, continues: count < rest.length } };
}
