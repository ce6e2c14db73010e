/** A collection of TanStack DB over `window.db`, for `frameworks.test.ts`. */

import { createCollection, createLiveQueryCollection, eq } from "@tanstack/db";
import type { Database } from "../../../src/index.js";
import { reuniteCollectionOptions } from "../../../src/tanstack/index.js";

export interface Task {
  readonly id: string;
  title: string;
  hours: number;
  done: boolean;
}

function make(db: Database) {
  const tasks = createCollection(
    reuniteCollectionOptions<Task, string>({
      table: db.table<Task>("task"),
      getKey: (task) => task.id,
    }),
  );
  const open = createLiveQueryCollection((q) =>
    q.from({ task: tasks }).where(({ task }) => eq(task.done, false)),
  );
  return { tasks, open };
}

declare global {
  interface Window {
    makeCollections: typeof make;
    collections: ReturnType<typeof make>;
  }
}

window.makeCollections = make;
