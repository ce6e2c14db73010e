/** A page of React over `window.db`, for `frameworks.test.ts`. */

import { createElement as h, memo, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import type { Database } from "../../../src/index.js";
import { useConflicts, useRow, useRows, useSyncStatus } from "../../../src/react/index.js";

interface Task {
  readonly id: string;
  readonly title: string;
  readonly done: boolean;
}

declare global {
  interface Window {
    renderings: Record<string, number>;
    beginReact(db: Database): void;
    choose(done: boolean): void;
    /** Whether it is of `window.db`, and the titles, at each rendering. */
    shown: [boolean, string[] | undefined][];
    showOther(db: Database): void;
  }
}

window.renderings = {};
window.shown = [];

function count(name: string): void {
  window.renderings[name] = (window.renderings[name] ?? 0) + 1;
}

const Item = memo(({ task }: { task: Task }) => {
  count(task.id);
  return h("li", null, task.title);
});

function App({ db: begun }: { db: Database }) {
  count("app");
  const [db, showOther] = useState(begun);
  window.showOther = showOther;
  const [done, choose] = useState(false);
  window.choose = choose;
  const tasks = db.table<Task>("task");
  // Queries, and a function, that are new at each rendering.
  const rows = useRows(tasks.where({ done }).orderBy("title"));
  window.shown.push([db === window.db, rows?.map(({ title }) => title)]);
  const long = useRows(tasks.where((task: Task) => task.title.length > 6));
  const first = useRow(tasks, "t1");
  const { phase, pending } = useSyncStatus(db);
  const conflicts = useConflicts(db);
  return h(
    "main",
    null,
    h("ul", null, ...(rows ?? []).map((task) => h(Item, { key: task.id, task }))),
    h("p", { id: "rows" }, rows === undefined ? "none yet" : String(rows.length)),
    h("p", { id: "long" }, String(long?.length)),
    h("p", { id: "first" }, first === undefined ? "none yet" : (first?.title ?? "gone")),
    h("p", { id: "status" }, `${phase} ${pending}`),
    h("p", { id: "conflicts" }, (conflicts ?? []).map(({ hub }) => String(hub)).join()),
  );
}

window.beginReact = (db) => {
  const place = document.body.appendChild(document.createElement("div"));
  createRoot(place).render(h(StrictMode, null, h(App, { db })));
};
