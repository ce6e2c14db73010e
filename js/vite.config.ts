import { defineConfig } from "vitest/config";

// Not in library mode, which leaves the spaces in: pages load this file as it is.
export default defineConfig({
  build: {
    target: "es2022",
    modulePreload: false,
    rolldownOptions: {
      input: { client: "src/index.ts" },
      preserveEntrySignatures: "strict",
      output: { format: "es", entryFileNames: "[name].js" },
    },
  },
  test: {
    include: ["tests/**/*.test.ts"],
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
