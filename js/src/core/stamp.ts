/**
 * Stamps: hybrid logical times, an order that respects cause and stays near wall time.
 *
 * Twin of `src/reunite/core/stamp.py`; `conformance/stamp/` is the definition.
 * The rule: a stamp we issue is later than every stamp we have issued or seen.
 */

import { ReuniteError } from "../errors.js";

const WALL_MS_MAX = 2 ** 48 - 1;
const COUNTER_MAX = 2 ** 16 - 1;
const TEXT = /^([0-9a-f]{12})-([0-9a-f]{4})-([0-9a-z-]{0,64})$/;

/** The time of a change; `replica` is "" for one made at the hub. */
export interface Stamp {
  readonly wallMs: number;
  readonly counter: number;
  readonly replica: string;
}

/** The text of a stamp; texts sort as the stamps do. */
export function stampText({ wallMs, counter, replica }: Stamp): string {
  return `${hex(wallMs, 12)}-${hex(counter, 4)}-${replica}`;
}

/** The inverse of `stampText`. Throws RangeError for any other text. */
export function parseStamp(text: string): Stamp {
  const found = TEXT.exec(text);
  if (found === null) throw new RangeError(`${JSON.stringify(text.slice(0, 100))} is no stamp.`);
  return {
    wallMs: Number.parseInt(found[1]!, 16),
    counter: Number.parseInt(found[2]!, 16),
    replica: found[3]!,
  };
}

/**
 * The stamp of our next change, later than `last` (whose replica it keeps) and than all of `seen`.
 * `nowMs` is wall time in milliseconds since the Unix epoch. A full counter carries into `wallMs`.
 */
export function nextStamp(last: Stamp, seen: readonly Stamp[], nowMs: number): Stamp {
  const known = [last, ...seen];
  let wallMs = Math.max(nowMs, ...known.map((stamp) => stamp.wallMs));
  // Only counters of the winning millisecond take part. A later one starts again at zero.
  let counter = 1 + Math.max(-1, ...known.filter((s) => s.wallMs === wallMs).map((s) => s.counter));
  if (counter > COUNTER_MAX) [wallMs, counter] = [wallMs + 1, 0];
  if (wallMs > WALL_MS_MAX) {
    throw new ReuniteError(
      "stamp-overflow",
      "The clock of this device, or of one it heard of, reads beyond the year 10,889.",
    );
  }
  return { wallMs, counter, replica: last.replica };
}

/** `stamp`, or the last possible one of `nowMs` if it lies in the future. */
export function clamp(stamp: Stamp, nowMs: number): Stamp {
  if (stamp.wallMs <= nowMs) return stamp;
  return { wallMs: Math.max(nowMs, 0), counter: COUNTER_MAX, replica: stamp.replica };
}

/** The stamp, as text, of what was changed at the hub in a commit of this time. */
export function commitStamp(atMs: number): string {
  return stampText({ wallMs: atMs, counter: 0, replica: "" });
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, "0");
}
