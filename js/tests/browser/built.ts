/**
 * The entries of the package, built as they are published, for pages of tests.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const JS = join(import.meta.dirname, "../..");
let folder: string | null = null;

/** The path of a built module, such as `sealed.js`; the first call builds all of them. */
export function built(name: string): string {
  if (folder === null) {
    const made = mkdtempSync(join(tmpdir(), "reunite-built-"));
    process.once("exit", () => rmSync(made, { recursive: true, force: true }));
    execFileSync(process.execPath, [join(JS, "build.mjs"), made]);
    folder = made;
  }
  return join(folder, name);
}
