/**
 * The examples of `docs/howto/in-the-browser.md` run, against a real hub.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { connect } from "../src/index.js";
import { TASKS, World } from "./stories/world.js";

const ROOT = join(import.meta.dirname, "../..");
const PAGE = readFileSync(join(ROOT, "docs/howto/in-the-browser.md"), "utf8");

test("the examples of the page run, one after the other", async () => {
  const world = await World.with(TASKS);
  const said: unknown[][] = [];
  try {
    const blocks = [...PAGE.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!);
    // The page goes on after it closed its database, with another one.
    const code = blocks.join("\n").replace(/^import .*$/gm, "");
    const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
    const example = new AsyncFunction("connect", "url", "token", "console", code);
    await example(connect, world.hub.url, world.hub.token, {
      log: (...words: unknown[]) => said.push(words),
    });
  } finally {
    await world.close();
  }
  expect(said).toContainEqual(["3 of 3 rows"]);
  expect(said.some(([phase]) => phase === "live")).toBe(true);
});

test("every code that the client has of its own is explained on the page", () => {
  const source = readFileSync(join(ROOT, "js/src/errors.ts"), "utf8");
  const codes = [...source.matchAll(/^ \* {5}([a-z-]+) {2,}/gm)].map(([, code]) => code!);
  expect(codes.length).toBeGreaterThan(10);
  const elsewhere = ["bad-request", "unknown-table"];
  for (const code of codes.filter((name) => !elsewhere.includes(name))) {
    expect(PAGE, code).toContain(`\`${code}\``);
  }
});

const REFERENCE = readFileSync(join(ROOT, "docs/reference/client.md"), "utf8");

function parsed(file: string): ts.SourceFile {
  const text = readFileSync(join(ROOT, "js/src", file), "utf8");
  return ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
}

/** What a module exports by name. */
function exportsOf(file: string): string[] {
  return parsed(file).statements.flatMap((statement) => {
    if (ts.isExportDeclaration(statement)) {
      const { exportClause } = statement;
      if (exportClause === undefined || !ts.isNamedExports(exportClause)) return [];
      return exportClause.elements.map(({ name }) => name.text);
    }
    const isExported = ts.canHaveModifiers(statement)
      ? ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
      : false;
    const { name } = statement as { name?: ts.Node };
    return isExported && name !== undefined && ts.isIdentifier(name) ? [name.text] : [];
  });
}

/** The members of a class or an interface that anybody may use. */
function membersOf(file: string, type: string): string[] {
  const found = parsed(file).statements.find((statement) => {
    const isType = ts.isClassDeclaration(statement) || ts.isInterfaceDeclaration(statement);
    return isType && statement.name?.text === type;
  }) as ts.ClassDeclaration | ts.InterfaceDeclaration;
  const names = [...found.members].map(({ name }) =>
    name && ts.isIdentifier(name) ? name.text : "",
  );
  return [...new Set(names)].filter((name) => name !== "");
}

// What other parts of the client use, and no page.
const INNER: Record<string, string[]> = {
  Database: ["row", "rows", "watch", "write", "begin", "lose"],
  Transaction: ["commit"],
};

test.each(["index.ts", "sealed/index.ts", "react/index.ts", "tanstack/index.ts"])(
  "everything that %s exports stands in the reference",
  (file) => {
    const names = exportsOf(file);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) expect(REFERENCE, name).toMatch(new RegExp(`\\b${name}\\b`));
  },
);

test.each([
  ["client/connect.ts", "ConnectOptions"],
  ["client/database.ts", "Database"],
  ["client/forms.ts", "FormOptions"],
  ["client/shown.ts", "Conflict"],
  ["client/shown.ts", "ParkedChange"],
  ["client/shown.ts", "PendingChange"],
  ["client/status.ts", "Events"],
  ["client/status.ts", "Status"],
  ["client/storage.ts", "StorageStatus"],
  ["client/table.ts", "Query"],
  ["client/table.ts", "TableHandle"],
  ["client/transaction.ts", "Transaction"],
  ["replica/conversation.ts", "Progress"],
  ["replica/driver.ts", "SyncReport"],
  ["sealed/index.ts", "SealedOptions"],
  ["tanstack/index.ts", "ReuniteCollectionOptions"],
])("every member in %s of %s stands in the reference", (file, type) => {
  const names = membersOf(file, type).filter((name) => !INNER[type]?.includes(name));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) {
    expect(REFERENCE, `${type}.${name}`).toMatch(new RegExp(`\`${name}[\`(]`));
  }
});
