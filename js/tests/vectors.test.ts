/**
 * The vectors of the pure core: every file is read, every case holds.
 *
 * `conformance/README.md` says what a file looks like. A file that no reader here knows is an
 * error: add its reader, here and in `tests/unit/test_conformance.py`.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { doubleOf, fromBase64 } from "../src/core/base64.js";
import { valueFaults } from "../src/core/checks.js";
import { decodeCursor, encodeCursor, viewHash } from "../src/core/cursor.js";
import { differingRanges, rangeSums, rowDigest, splitRange } from "../src/core/digest.js";
import { parseJson } from "../src/core/json_text.js";
import { conflictingColumns, mergeRow, overlay } from "../src/core/merge.js";
import type { Column, TableSchema } from "../src/core/schema.js";
import { Table } from "../src/core/schema.js";
import { squash } from "../src/core/squash.js";
import { clamp, commitStamp, nextStamp, parseStamp, stampText } from "../src/core/stamp.js";
import { isTagged, tagged, untagged, wireForm } from "../src/core/stored.js";
import { add, canonicalText, larger, same } from "../src/core/values.js";
import { ReuniteError } from "../src/errors.js";
import { type Bytes, Initiator, Responder } from "../src/sealed/noise.js";

// biome-ignore lint/suspicious/noExplicitAny: a case may hold anything
type Any = any;

const ROOT = join(import.meta.dirname, "../../conformance");
const FOLDERS = ["values", "stamp", "merge", "squash", "cursor", "digest", "noise"];
const FILES = FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`),
);

const refused = (path: string) => new ReuniteError("bad-request", "Refused.", { path });

const FUNCTIONS: Record<string, Any> = {
  join: (base: Any, theirs: Any, mine: Any) => `${base}<${theirs}+${mine}`,
};

function functionsOf(given: Any): Map<string, Any> {
  const named: [string, string][] = Object.entries(given.functions ?? {});
  return new Map(named.map(([column, name]) => [column, FUNCTIONS[name]]));
}

function readMerge(given: Any): Any {
  const table = new Table(given.table as TableSchema);
  const { columns, mine, theirs } = given;
  const meeting = { columns, base: given.base ?? null, mine, theirs };
  const judge = { stamp: given.stamp, hubStamps: given.hub_stamps, functions: functionsOf(given) };
  return { ...mergeRow(table, meeting, judge), conflicting: conflictingColumns(table, meeting) };
}

function readOverlay(given: Any): Any {
  const { columns, was, set, hub } = given;
  const meeting = { columns, base: was, mine: set, theirs: hub };
  return overlay(new Table(given.table), meeting, functionsOf(given));
}

function readCheck({ columns, rows, path, is_loose }: Any): null {
  for (const [index, row] of rows.entries()) {
    if (row.length !== columns.length) throw refused(`${path}[${index}]`);
  }
  const [fault] = valueFaults(columns as Column[], rows, is_loose);
  if (fault) throw refused(`${path}[${fault.row}][${fault.column}]${fault.inside}`);
  return null;
}

function readWireForm(given: Any): Any {
  const stored =
    "integer" in given
      ? BigInt(given.integer)
      : "real" in given
        ? doubleOf(given.real)
        : "text" in given
          ? given.text
          : fromBase64(given.blob)!;
  const wire = wireForm(given.type, stored);
  if (isTagged(wire)) {
    expect(untagged(wire)).toEqual(Object.is(stored, -0) ? 0 : stored);
    expect(tagged(stored)).toBe(wire);
  }
  return wire;
}

function readStampText(given: string): Any {
  const stamp = parseStamp(given);
  expect(stampText(stamp)).toBe(given);
  return { wall_ms: stamp.wallMs, counter: stamp.counter, replica: stamp.replica };
}

function readCursor(given: string): Any {
  const cursor = decodeCursor(given);
  if (cursor === null) throw refused("cursor");
  expect(encodeCursor(cursor)).toBe(given);
  return cursor;
}

function readNoise(given: Any): Any {
  const [prologue, psk] = [fromHex(given.prologue), fromHex(given.psk)];
  const initiator = new Initiator(psk, fromHex(given.initiator_ephemeral), prologue);
  const responder = new Responder(psk, fromHex(given.responder_ephemeral), prologue);
  const [first, second, ...later] = given.payloads.map(fromHex);
  const messages = [initiator.write(first)];
  expect(responder.read(messages[0]!)).toEqual(first);
  const firstHash = toHex(initiator.hash);
  messages.push(responder.write(second));
  expect(initiator.read(messages[1]!)).toEqual(second);
  expect(responder.hash).toEqual(initiator.hash);
  for (const [index, payload] of later.entries()) {
    const ends = [initiator.ciphers!, responder.ciphers!];
    const [mine, theirs] = index % 2 === 0 ? ends : ends.reverse();
    const number = Math.floor(index / 2);
    const sealed = mine!.sending.seal(number, payload);
    expect(theirs!.receiving.open(number, sealed)).toEqual(payload);
    messages.push(sealed as Bytes);
  }
  return { first_hash: firstHash, messages: messages.map(toHex) };
}

const fromHex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

const READERS: Record<string, (given: Any) => Any> = {
  "values same": (g) => same(g.type, g.a, g.b),
  "values canonical_text": (g) => canonicalText(g.type, g.value),
  "values larger": (g) => larger(g.type, g.a, g.b),
  "values add": (g) => add(g.type, g.hub, g.from, g.to),
  "values check_columns": readCheck,
  "values wire_form": readWireForm,
  "stamp parse_stamp": readStampText,
  "stamp next_stamp": (g) =>
    stampText(nextStamp(parseStamp(g.last), g.seen.map(parseStamp), g.now_ms)),
  "stamp clamp": (g) => stampText(clamp(parseStamp(g.stamp), g.now_ms)),
  "stamp commit_stamp": commitStamp,
  "stamp sorted": (g) => [...g].sort(),
  "merge merge_row": readMerge,
  "merge merge_insert": readMerge,
  "merge overlay": readOverlay,
  "squash squash": squash,
  "cursor decode_cursor": readCursor,
  "cursor view_hash": viewHash,
  "digest row_digests": (g) => g.rows.map((row: Any) => rowDigest(new Table(g.table), row)),
  "digest range_sums": (g) => rangeSums(g.digests, g.prefixes),
  "digest differing_ranges": (g) => differingRanges(g.ours, g.theirs),
  "digest split_range": splitRange,
  "noise nnpsk0": readNoise,
};

/** What is compared: without members that have their default. */
function plain(value: Any): Any {
  if (Array.isArray(value)) return value.map(plain);
  if (Object.is(value, -0)) return 0;
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(([, member]) => !isDefault(member));
  return Object.fromEntries(members.map(([name, member]) => [name, plain(member)]));
}

function isDefault(value: Any): boolean {
  const isEmpty = Array.isArray(value) && value.length === 0;
  return isEmpty || value === null || value === undefined || value === false || value === 0;
}

test.each(FILES)("the cases of %s hold", (file) => {
  const { function: name, cases } = parseJson(readFileSync(join(ROOT, file), "utf8")) as Any;
  const reader = READERS[`${file.split("/")[0]} ${name}`];
  expect(reader, `no reader for ${name}: write one`).toBeDefined();
  expect(cases.length).toBeGreaterThan(0);
  for (const { name: title, given, expect: wanted, error } of cases) {
    if (error === undefined) {
      expect(plain(reader!(given)), title).toEqual(plain(wanted));
      continue;
    }
    let refusal: Any = null;
    try {
      reader!(given);
    } catch (caught) {
      refusal = caught;
    }
    if (error.code) expect(refusal?.code, title).toBe(error.code);
    else expect(refusal, title).toBeInstanceOf(RangeError);
    if (error.path) expect(refusal.details.path, title).toBe(error.path);
  }
});
