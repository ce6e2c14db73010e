/**
 * What a component watches: one value that is the same object until it is something else.
 */

import { isError } from "../errors.js";

/** A value that somebody tells, for `useSyncExternalStore`. */
export class Source<Value> {
  #value: Value | undefined;
  readonly #listeners = new Set<() => void>();
  #end: (() => void) | null = null;

  readonly #watch: (tell: (value: Value) => void) => () => void;
  readonly #isSame: (a: Value, b: Value) => boolean;

  /** `watch` tells each value and returns what ends it; `likeness` names what the value is of. */
  constructor(
    readonly likeness: string,
    watch: (tell: (value: Value) => void) => () => void,
    isSame: (a: Value, b: Value) => boolean,
    value?: Value,
  ) {
    this.#watch = watch;
    this.#isSame = isSame;
    this.#value = value;
  }

  readonly snapshot = (): Value | undefined => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#end ??= this.#begin();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#end?.();
      this.#end = null;
    };
  };

  #begin(): () => void {
    try {
      return this.#watch((value) => this.#tell(value));
    } catch (error) {
      // A database that was closed has nothing to tell any more, and is no reason to fall over.
      if (!isError(error, "closed")) throw error;
      return () => {};
    }
  }

  #tell(value: Value): void {
    if (this.#value !== undefined && this.#isSame(this.#value, value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }
}

const numbers = new WeakMap<object, number>();
let count = 0;

/** What a question is, as text: `exact` tells functions apart, `alike` does not. */
export function identityOf(...question: unknown[]): { exact: string; alike: string } {
  const text = (ofFunction: (given: object) => string) =>
    JSON.stringify(question, (_, value: unknown) => {
      if (typeof value === "bigint") return `${value}n`;
      if (typeof value === "function") return ofFunction(value);
      return value === undefined ? "undefined" : value;
    });
  return { exact: text((given) => `function ${numberOf(given)}`), alike: text(() => "function") };
}

/** A number that is this object's alone. */
export function numberOf(given: object): number {
  let number = numbers.get(given);
  if (number === undefined) {
    count += 1;
    number = count;
    numbers.set(given, number);
  }
  return number;
}
