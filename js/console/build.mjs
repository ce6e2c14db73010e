/**
 * Builds the console as hubs serve it: a page, a script and a sheet.
 *
 *     node console/build.mjs [FOLDER]        into dist/console/ if no folder is named
 *
 * The rule: every URL in it is relative to the page's `<base>`, which the server sets; and it holds
 * no code or style inside the page, since the server's policy allows none.
 */

import { rmSync } from "node:fs";
import { resolve } from "node:path";
import { build } from "vite";

const folder = resolve(process.argv[2] ?? resolve(import.meta.dirname, "../dist/console"));

// Vite marks its script for pages of other origins, which the console never has.
const plainPage = {
  name: "plain-page",
  transformIndexHtml: { order: "post", handler: (html) => html.replaceAll(" crossorigin", "") },
};

rmSync(folder, { recursive: true, force: true });
await build({
  root: import.meta.dirname,
  base: "./",
  configFile: false,
  logLevel: "error",
  plugins: [plainPage],
  build: {
    target: "es2022",
    outDir: folder,
    emptyOutDir: false,
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: { output: { codeSplitting: false } },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
