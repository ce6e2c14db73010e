/**
 * JSON texts whose long integers stay what they are.
 *
 * JavaScript's own reader makes doubles of all numbers. Here integers beyond 2^53, which may stand
 * inside json columns, become BigInt, and are written as the digits they were.
 * `readLossless` is stricter: it is the twin of `parse_json_text` in `core/json_text.py`.
 */

import { compareDecimals, parseDecimal } from "./decimal.js";
import type { Value } from "./values.js";

/** Nested arrays and objects in a value of a json column. */
export const JSON_DEPTH_MAX = 64;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON has none in its strings
const STRING = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
const LONG = /(?:^|[[:,\s])-?[0-9]{16}/;

/** The value of a JSON text. Throws SyntaxError for what is none. */
export function parseJson(text: string): unknown {
  return LONG.test(text) ? new Reader(text, false).read() : JSON.parse(text);
}

/** A value as JSON; BigInts are integers. */
export function writeJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return written(value);
  }
}

/** The value that a text says. Throws SyntaxError where something would be lost: the text itself
 * must travel then. */
export function readLossless(text: string): Value {
  const value = new Reader(text, true).read() as Value;
  if (value === null) throw new SyntaxError("NULL means no value.");
  return value;
}

function written(value: unknown): string {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return `[${value.map(written).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${written(member)}`).join(",")}}`;
}

class Reader {
  #place = 0;

  readonly #text: string;
  readonly #isStrict: boolean;

  constructor(text: string, isStrict: boolean) {
    this.#text = text;
    this.#isStrict = isStrict;
  }

  read(): unknown {
    const value = this.#value(0);
    this.#match(SPACE);
    if (this.#place !== this.#text.length) this.#fail();
    return value;
  }

  #value(depth: number): unknown {
    this.#match(SPACE);
    const letter = this.#text[this.#place];
    if (letter === '"') return this.#string();
    if (letter === "[" || letter === "{") {
      if (this.#isStrict && depth >= JSON_DEPTH_MAX) this.#fail();
      this.#place += 1;
      return letter === "[" ? this.#array(depth + 1) : this.#object(depth + 1);
    }
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#place)) {
        this.#place += word.length;
        return value;
      }
    }
    return this.#number();
  }

  #array(depth: number): unknown[] {
    const members: unknown[] = [];
    if (this.#has("]")) return members;
    do members.push(this.#value(depth));
    while (this.#goesOn("]"));
    return members;
  }

  #object(depth: number): Record<string, unknown> {
    const members = new Map<string, unknown>();
    if (this.#has("}")) return {};
    do {
      this.#match(SPACE);
      const name = this.#string();
      if (this.#isStrict && members.has(name)) this.#fail();
      if (!this.#has(":")) this.#fail();
      members.set(name, this.#value(depth));
    } while (this.#goesOn("}"));
    return Object.fromEntries(members);
  }

  #string(): string {
    const value: string = JSON.parse(this.#match(STRING) || this.#fail());
    if (this.#isStrict && !isWellFormed(value)) this.#fail();
    return value;
  }

  #number(): number | bigint {
    const digits = this.#match(NUMBER) || this.#fail();
    const number = Number(digits);
    if (/[.eE]/.test(digits)) {
      if (this.#isStrict && !isExact(digits, number)) this.#fail();
      return number;
    }
    if (Number.isSafeInteger(number)) return number;
    const long = BigInt(digits);
    if (this.#isStrict && BigInt.asIntN(64, long) !== long) this.#fail();
    return long;
  }

  #goesOn(end: string): boolean {
    if (this.#has(",")) return true;
    return this.#has(end) ? false : this.#fail();
  }

  #has(letter: string): boolean {
    this.#match(SPACE);
    if (this.#text[this.#place] !== letter) return false;
    this.#place += 1;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#place;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#place += found.length;
    return found;
  }

  #fail(): never {
    throw new SyntaxError(`The JSON cannot be read at character ${this.#place}.`);
  }
}

const WORDS: readonly [string, unknown][] = [
  ["true", true],
  ["false", false],
  ["null", null],
];

/** Whether a double says all digits of a number. */
function isExact(digits: string, number: number): boolean {
  const [said, got] = [parseDecimal(digits), parseDecimal(String(number))];
  return said !== null && got !== null && compareDecimals(said, got) === 0;
}

/** Whether a text has no lone surrogates. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}
