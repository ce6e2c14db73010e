/**
 * The pages of the console: their names, their places in the menu, and the keys that lead there.
 */

import type { ComponentType } from "preact";
import { Audit } from "./pages/audit.js";
import { Commit } from "./pages/commit.js";
import { Conflict } from "./pages/conflict.js";
import { Conflicts } from "./pages/conflicts.js";
import { Discovery } from "./pages/discovery.js";
import { Jobs } from "./pages/jobs.js";
import { Overview } from "./pages/overview.js";
import { Parked } from "./pages/parked.js";
import { People } from "./pages/people.js";
import { Performance } from "./pages/performance.js";
import { Permissions } from "./pages/permissions.js";
import { Replica } from "./pages/replica.js";
import { Replicas } from "./pages/replicas.js";
import { Row } from "./pages/row.js";
import { Search } from "./pages/search.js";
import { SyncLog } from "./pages/sync_log.js";
import { TablePage } from "./pages/table.js";
import { Tables } from "./pages/tables.js";
import { ViewAs } from "./pages/view_as.js";

export interface PageEntry {
  readonly path: string;
  readonly name: string;
  readonly key: string;
  /** What the hub's API must have for it. */
  readonly needs: string;
  readonly view: ComponentType;
  /** What is shown for `path/<something>`. */
  readonly detail?: ComponentType<{ id: string }>;
}

export const PAGES: readonly PageEntry[] = [
  { path: "", name: "Overview", key: "o", needs: "overview", view: Overview },
  {
    path: "replicas",
    name: "Replicas",
    key: "r",
    needs: "replicas",
    view: Replicas,
    detail: Replica,
  },
  { path: "tables", name: "Tables", key: "t", needs: "tables", view: Tables, detail: TablePage },
  { path: "permissions", name: "Permissions", key: "p", needs: "permissions", view: Permissions },
  {
    path: "conflicts",
    name: "Conflicts",
    key: "c",
    needs: "conflicts",
    view: Conflicts,
    detail: Conflict,
  },
  { path: "parked", name: "Parked", key: "k", needs: "parked", view: Parked },
  { path: "audit", name: "Audit", key: "a", needs: "commits", view: Audit, detail: Commit },
  { path: "sync", name: "Sync log", key: "s", needs: "sync", view: SyncLog },
  { path: "performance", name: "Performance", key: "f", needs: "performance", view: Performance },
  { path: "people", name: "Tenants & users", key: "u", needs: "users", view: People },
  { path: "view-as", name: "View as…", key: "v", needs: "view", view: ViewAs },
  { path: "jobs", name: "Jobs", key: "j", needs: "jobs", view: Jobs },
  { path: "discovery", name: "Discovery", key: "d", needs: "discovery", view: Discovery },
];

/** Pages that no menu leads to. */
export const OTHERS: readonly PageEntry[] = [
  { path: "search", name: "Search", key: "", needs: "replicas", view: Search },
  { path: "row", name: "Row", key: "", needs: "row", view: Row },
];
