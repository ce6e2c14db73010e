/**
 * Numbers, times and values as people read them. Values are text, whatever is in them.
 */

import { useEffect, useState } from "preact/hooks";

const COUNT = new Intl.NumberFormat("en");
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const STEPS: readonly (readonly [number, string, number])[] = [
  [60, "s", 1],
  [3_600, "min", 60],
  [86_400, "h", 3_600],
  [Number.POSITIVE_INFINITY, "d", 86_400],
];

export function count(number: number): string {
  return COUNT.format(number);
}

/** "1 replica", "2 replicas". */
export function counted(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function bytes(number: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let [value, unit] = [number, 0];
  while (value >= 1_000 && unit < units.length - 1) [value, unit] = [value / 1_000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

export function milliseconds(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms >= 100 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

/** How long ago that was, or how long it is until then. */
export function since(ms: number, nowMs = Date.now()): string {
  const seconds = Math.round((nowMs - ms) / 1_000);
  const away = Math.abs(seconds);
  if (away < 3) return "now";
  const [, unit, size] = STEPS.find(([limit]) => away < limit)!;
  const text = `${Math.floor(away / size)} ${unit}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

const TICK_MS = 10_000;

/** A time, as how long ago it was; pointing at it tells the time itself. */
export function When({ ms }: { ms: number | null | undefined }) {
  const [, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTick((tick) => tick + 1), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  if (ms === null || ms === undefined || ms === 0) return <span class="soft">never</span>;
  const date = new Date(ms);
  return (
    <time dateTime={date.toISOString()} title={DAY.format(date)}>
      {since(ms)}
    </time>
  );
}

/** A time to the second. */
export function At({ ms }: { ms: number }) {
  return <time dateTime={new Date(ms).toISOString()}>{DAY.format(new Date(ms))}</time>;
}

const LONG = 200;

/** The text of a value: texts as they are, all else as JSON. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What somebody typed for a value: JSON, and whatever is none as the text that it is. */
export function valueIn(typed: string): unknown {
  try {
    return JSON.parse(typed);
  } catch {
    return typed;
  }
}

/** A key as people write it: the value, or several with commas. */
export function keyOf(key: readonly unknown[] | null | undefined): string {
  return (key ?? []).map(textOf).join(", ");
}

/** A value of a row. Long ones can be opened. */
export function Value({ of }: { of: unknown }) {
  const [isOpen, setIsOpen] = useState(false);
  if (of === null || of === undefined) return <span class="soft">null</span>;
  const text = textOf(of);
  if (text === "") return <span class="soft">empty text</span>;
  if (text.length <= LONG || isOpen) return <span class="value">{text}</span>;
  return (
    <span class="value">
      {text.slice(0, LONG)}…{" "}
      <button type="button" class="link" onClick={() => setIsOpen(true)}>
        all {count(text.length)} characters
      </button>
    </span>
  );
}

/** A word with a colour of its own; the colour never says more than the word. */
export function Tag({
  is,
  children,
}: {
  is?: "good" | "warn" | "bad" | "plain";
  children: string;
}) {
  return <span class={`tag ${is ?? "plain"}`}>{children}</span>;
}
