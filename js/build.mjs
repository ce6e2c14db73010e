/**
 * Builds each entry of the package as one module that a page can load as it is.
 *
 *     node build.mjs [FOLDER]        into dist/ if no folder is named
 *
 * Not in library mode, which leaves the spaces in. Each entry is built by itself: modules that share
 * a third one would have a page load it by itself, too.
 */

import { resolve } from "node:path";
import { build } from "vite";

const ENTRIES = {
  client: "src/index.ts",
  sealed: "src/sealed/index.ts",
  react: "src/react/index.ts",
  tanstack: "src/tanstack/index.ts",
  dsn: "src/dsn/index.ts",
};

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

/** Build these entries: each one module if there is one, else with what they share in parts. */
async function make(input) {
  const isSingle = Object.keys(input).length === 1;
  await build({
    root,
    configFile: false,
    logLevel: "error",
    build: {
      target: "es2022",
      outDir: folder,
      emptyOutDir: false,
      modulePreload: false,
      rolldownOptions: {
        external: ["react"],
        input,
        preserveEntrySignatures: "strict",
        output: {
          format: "es",
          entryFileNames: "[name].js",
          chunkFileNames: "parts/[name].js",
          codeSplitting: !isSingle,
          postBanner: noticeOf,
        },
      },
    },
  });
}

for (const [name, source] of Object.entries(ENTRIES)) await make({ [name]: source });
await make(MAIN);
