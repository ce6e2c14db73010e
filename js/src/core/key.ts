/**
 * Keys: the array of a row's primary-key values, and its one spelling as text.
 */

import { writeJson } from "./json_text.js";
import type { Key } from "./values.js";

/** `[1, "a"]` → `[1,"a"]`; equal keys have equal texts. */
export function keyText(key: Key): string {
  return writeJson(key);
}

/** Whether two keys are one. */
export function isSameKey(a: Key, b: Key): boolean {
  return keyText(a) === keyText(b);
}
