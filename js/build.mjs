/**
 * Builds each entry of the package as one module that a page can load as it is.
 *
 *     node build.mjs [FOLDER]        into dist/ if no folder is named
 *
 * Not in library mode, which leaves the spaces in. Each entry is built by itself: modules that share
 * a third one would have a page load it by itself, too. What most visits never need (`src/rare/`) is
 * a module in a folder beside, with a hash in its name: pages with an older client find no other one.
 */

import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "vite";

const ENTRIES = {
  sealed: "src/sealed/index.ts",
  react: "src/react/index.ts",
  tanstack: "src/tanstack/index.ts",
  dsn: "src/dsn/index.ts",
};

/** What hubs serve to pages, which may load the rest later. */
const CLIENT = { client: "src/index.ts" };

/** The package's main entry is in parts, so that bundlers leave out what nobody imports. */
const MAIN = {
  reunite: "src/reunite.ts",
  "parts/client": "src/index.ts",
  "parts/dsn": "src/dsn/index.ts",
};

const NOBLE =
  "/*! Contains noble cryptography, (c) Paul Miller, MIT License, github.com/paulmillr */";
const noticeOf = ({ moduleIds }) =>
  moduleIds.some((id) => id.includes("@noble")) ? NOBLE : undefined;

const folder = resolve(process.argv[2] ?? "dist");
const root = import.meta.dirname;

/** Vite would have parts fetched by a helper that is larger than some of them, and is for pages only. */
const plainImports = {
  name: "plain-imports",
  enforce: "pre",
  load: (id) =>
    id.endsWith("vite/preload-helper.js") ? "export const __vitePreload = (load) => load();" : null,
};

/** Build these entries: `parts` names the modules that they share or load later; without, there are
 * none. `signatures`: whether an entry may export more than it says, for its parts. */
async function make(input, parts = null, signatures = "strict") {
  await build({
    root,
    configFile: false,
    logLevel: "error",
    plugins: [plainImports],
    build: {
      target: "es2022",
      outDir: folder,
      emptyOutDir: false,
      modulePreload: false,
      rolldownOptions: {
        external: ["react"],
        input,
        preserveEntrySignatures: signatures,
        output: {
          format: "es",
          entryFileNames: "[name].js",
          ...(parts !== null && { chunkFileNames: parts }),
          codeSplitting: parts !== null,
          postBanner: noticeOf,
        },
      },
    },
  });
}

rmSync(join(folder, "client"), { recursive: true, force: true });
await make(CLIENT, "client/[hash].js", "allow-extension");
for (const [name, source] of Object.entries(ENTRIES)) await make({ [name]: source });
await make(MAIN, "parts/[name].js");
