/** Sync log: what devices asked, and how it ended. */

import { useState } from "preact/hooks";
import { linkTo, useAddress } from "../address.js";
import { urlOf } from "../api.js";
import { useList } from "../asking.js";
import { Cards, type Column, Facts, Nothing, Page, Rows } from "../parts/answers.js";
import { ChoiceFilter, Dialog, Filters, SpanFilter, TextFilter } from "../parts/forms.js";
import { At, count, milliseconds, Tag, When } from "../parts/words.js";

export interface SyncEntry {
  readonly id: number | string;
  readonly at_ms: number;
  readonly operation: string;
  readonly status: "ok" | "refused" | "error";
  readonly code: string | null;
  readonly principal: string | null;
  readonly tenant: string | null;
  readonly replica: string | null;
  readonly replica_name: string | null;
  readonly changes: number;
  readonly applied: number;
  readonly refused: number;
  readonly conflicts: number;
  readonly rows: number;
  readonly tables: Readonly<Record<string, number>>;
  readonly ms: number;
  readonly process: string | null;
}

interface Head {
  readonly counts?: {
    readonly total: number;
    readonly ok: number;
    readonly refused: number;
    readonly errors: number;
    readonly last_hour: number;
  };
}

const KINDS = { ok: "good", refused: "warn", error: "bad" } as const;

export const SYNC_COLUMNS: readonly Column<SyncEntry>[] = [
  { name: "When", show: (entry) => <When ms={entry.at_ms} /> },
  { name: "What", show: (entry) => entry.operation },
  {
    name: "How it ended",
    show: (entry) => (
      <>
        <Tag is={KINDS[entry.status] ?? "plain"}>{entry.status}</Tag> {entry.code}
      </>
    ),
  },
  {
    name: "Replica",
    show: (entry) =>
      entry.replica ? (
        <a href={linkTo(["replicas", entry.replica])}>{entry.replica_name || entry.replica}</a>
      ) : (
        <span class="soft">none yet</span>
      ),
  },
  { name: "Who", show: (entry) => entry.principal ?? "" },
  { name: "Changes", show: (entry) => count(entry.changes), isNumber: true },
  { name: "Rows", show: (entry) => count(entry.rows), isNumber: true },
  { name: "Took", show: (entry) => milliseconds(entry.ms), isNumber: true },
];

export function SyncLog() {
  const { query } = useAddress();
  const params = Object.fromEntries(query);
  const asked = useList<SyncEntry, Head>("sync", params, ["sync"]);
  const [shown, setShown] = useState<SyncEntry | null>(null);
  const counts = asked.answer?.counts;
  const details: Column<SyncEntry> = {
    name: "",
    show: (entry) => (
      <button type="button" class="small plain" onClick={() => setShown(entry)}>
        Details
      </button>
    ),
  };
  return (
    <Page
      title="Sync log"
      lead="What devices pushed and pulled, and how it ended. Pulls that brought nothing are counted in Performance only."
      actions={
        <a class="button small secondary" href={urlOf("sync.csv", params)} download>
          Download CSV
        </a>
      }
    >
      {counts && (
        <Cards
          of={[
            ["Kept", count(counts.total)],
            ["In the last hour", count(counts.last_hour)],
            ["Went well", count(counts.ok), "sync?status=ok"],
            ["Refused", count(counts.refused), "sync?status=refused"],
            ["Errors", count(counts.errors), "sync?status=error"],
          ]}
        />
      )}
      <Filters>
        <ChoiceFilter
          name="operation"
          label="What"
          options={["push", "pull", "register", "repair"]}
        />
        <ChoiceFilter name="status" label="How it ended" options={["ok", "refused", "error"]} />
        <TextFilter name="principal" label="Who" />
        <TextFilter name="replica" label="Replica's id" />
        <SpanFilter />
      </Filters>
      <Rows
        of={asked}
        caption="Syncs, newest first"
        columns={[...SYNC_COLUMNS, details]}
        empty={<Nothing yet="Nothing was pushed or pulled yet." what="sync" />}
      />
      {shown && (
        <Dialog title={`${shown.operation}, ${shown.status}`} onClose={() => setShown(null)}>
          <Facts
            of={[
              ["When", <At ms={shown.at_ms} />],
              ["Took", milliseconds(shown.ms)],
              ["Code", shown.code ?? "–"],
              ["Who", shown.principal ?? "–"],
              ["Tenant", shown.tenant ?? "–"],
              ["Replica", shown.replica_name || shown.replica || "–"],
              [
                "Changes",
                `${count(shown.changes)}: ${count(shown.applied)} taken, ${count(shown.refused)} refused, ${count(shown.conflicts)} met another change`,
              ],
              ["Rows sent", count(shown.rows)],
              [
                "Tables",
                Object.entries(shown.tables ?? {})
                  .map(([name, rows]) => `${name}: ${count(rows)}`)
                  .join(", ") || "–",
              ],
              ["Process", shown.process ?? "–"],
            ]}
          />
        </Dialog>
      )}
    </Page>
  );
}
