/** Overview: whether all is well, and where to look if not. */

import { useAsk } from "../asking.js";
import { Answer, Cards, Page, Table } from "../parts/answers.js";
import { bytes, count, milliseconds, Tag, When } from "../parts/words.js";
import { type Lagging, LagTable } from "./replicas.js";
import { SYNC_COLUMNS, type SyncEntry } from "./sync_log.js";

interface OverviewAnswer {
  readonly hub: {
    readonly seq: number;
    readonly trimmed_seq: number;
    readonly last_commit_ms: number | null;
    readonly version: string;
    readonly database: string;
    readonly database_bytes: number | null;
  };
  readonly replicas: {
    readonly total: number;
    readonly current: number;
    readonly behind: number;
    readonly silent: number;
    readonly outdated: number;
    readonly seen_last_hour: number;
    readonly furthest_behind: readonly Lagging[];
  };
  readonly tables: { readonly tracked: number; readonly closed: number };
  readonly directory: {
    readonly users: number;
    readonly tenants: number;
    readonly roles: number;
    readonly permissions: number;
  } | null;
  readonly conflicts: { readonly open: number; readonly last_day: number };
  readonly parked: { readonly open: number; readonly last_day: number };
  readonly rates?: {
    readonly window_s: number;
    readonly pushes: number;
    readonly pulls: number;
    readonly changes: number;
    readonly rows: number;
    readonly errors: number;
    readonly p95_ms: { readonly push: number | null; readonly pull: number | null };
  } | null;
  readonly warnings: readonly {
    readonly code: string;
    readonly text: string;
    readonly link: string | null;
  }[];
  readonly sync?: readonly SyncEntry[];
}

export function Overview() {
  const asked = useAsk<OverviewAnswer>("overview", {}, [
    "commits",
    "replicas",
    "conflicts",
    "parked",
    "sync",
    "performance",
    "tables",
    "directory",
    "permissions",
  ]);
  return (
    <Page title="Overview">
      <Answer of={asked}>{(answer) => <Shown of={answer} />}</Answer>
    </Page>
  );
}

function Shown({ of }: { of: OverviewAnswer }) {
  const { hub, replicas, tables, directory, conflicts, parked, rates, warnings, sync } = of;
  return (
    <>
      <section aria-label="Warnings">
        {warnings.length === 0 ? (
          <p class="banner good">All is well: nobody waits for you.</p>
        ) : (
          <ul class="warnings">
            {warnings.map(({ text, link }) => (
              <li>{link === null ? text : <a href={link}>{text}</a>}</li>
            ))}
          </ul>
        )}
      </section>
      <Cards
        of={[
          ["Replicas", count(replicas.total), "replicas"],
          ["Current", count(replicas.current), "replicas?state=current"],
          ["Behind", count(replicas.behind), "replicas?state=behind"],
          ["Silent", count(replicas.silent), "replicas?state=silent"],
          ["Seen in the last hour", count(replicas.seen_last_hour), "replicas?sort=seen"],
          ["Open conflicts", count(conflicts.open), "conflicts?state=open"],
          ["Parked changes", count(parked.open), "parked?state=open"],
          ["Tables", count(tables.tracked), "tables"],
          ...(directory
            ? ([
                ["Users", count(directory.users), "people"],
                ["Tenants", count(directory.tenants), "people?tab=tenants"],
                ["Permissions", count(directory.permissions), "permissions"],
              ] as const)
            : []),
          ["Commits", count(hub.seq), "audit"],
          ["Last commit", <When ms={hub.last_commit_ms} />, "audit"],
          [
            "Database",
            hub.database_bytes === null ? hub.database : bytes(hub.database_bytes),
            "performance",
          ],
        ]}
      />
      {rates && (
        <section>
          <h2>The last {Math.round(rates.window_s / 60)} minutes</h2>
          <Cards
            of={[
              ["Pushes", count(rates.pushes), "performance"],
              ["Pulls", count(rates.pulls), "performance"],
              ["Changes taken", count(rates.changes)],
              ["Rows sent", count(rates.rows)],
              ["Errors", count(rates.errors), "sync?status=error"],
              ["95 % of pushes within", milliseconds(rates.p95_ms.push)],
              ["95 % of pulls within", milliseconds(rates.p95_ms.pull)],
            ]}
          />
        </section>
      )}
      <section>
        <h2>Furthest behind</h2>
        <LagTable
          of={replicas.furthest_behind}
          empty={
            replicas.total === 0
              ? "No device has registered yet: clone the hub, or open a page that connects to it."
              : "Every replica has confirmed the newest commit."
          }
        />
      </section>
      {sync && (
        <section>
          <h2>
            Newest syncs{" "}
            <a class="aside" href="sync">
              all
            </a>
          </h2>
          <Table
            caption="Newest syncs"
            items={sync}
            columns={SYNC_COLUMNS}
            empty={<p>Nothing was pushed or pulled yet.</p>}
          />
        </section>
      )}
      <p class="soft">
        reunite <Tag>{hub.version}</Tag> on {hub.database}; the log begins at commit{" "}
        {count(hub.trimmed_seq + 1)}.
      </p>
    </>
  );
}
