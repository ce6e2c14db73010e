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
  reunite: "src/reunite.ts",
};

const NOBLE =
  "/*! Contains noble cryptography, (c) Paul Miller, MIT License, github.com/paulmillr */";
const noticeOf = ({ moduleIds }) =>
  moduleIds.some((id) => id.includes("@noble")) ? NOBLE : undefined;

const folder = resolve(process.argv[2] ?? "dist");
const root = import.meta.dirname;

for (const [name, source] of Object.entries(ENTRIES)) {
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
        input: { [name]: source },
        preserveEntrySignatures: "strict",
        output: {
          format: "es",
          entryFileNames: "[name].js",
          codeSplitting: false,
          postBanner: noticeOf,
        },
      },
    },
  });
}
