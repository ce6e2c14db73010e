/**
 * The entries of the package, built as they are published, for pages of tests.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";

const JS = join(import.meta.dirname, "../..");
let folder: string | null = null;
let hasEntries = false;

function ownFolder(): string {
  if (folder === null) {
    const made = mkdtempSync(join(tmpdir(), "reunite-built-"));
    process.once("exit", () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  return folder;
}

/** The path of a built module, such as `sealed.js`; the first call builds all of them. */
export function built(name: string): string {
  const made = ownFolder();
  if (!hasEntries) execFileSync(process.execPath, [join(JS, "build.mjs"), made]);
  hasEntries = true;
  return join(made, name);
}

/** The path of a module of a page with all that it imports, built from `tests/browser`. */
export async function bundled(source: string): Promise<string> {
  const made = ownFolder();
  const name = source.replace(/.*\/(.*)\.ts$/, "page-$1");
  await build({
    configFile: false,
    logLevel: "error",
    build: {
      outDir: made,
      emptyOutDir: false,
      modulePreload: false,
      rolldownOptions: {
        input: { [name]: join(import.meta.dirname, source) },
        output: { format: "es", entryFileNames: "[name].js", codeSplitting: false },
      },
    },
  });
  return join(made, `${name}.js`);
}
