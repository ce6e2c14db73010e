/** One replica: how far it is, what it has cloned, what it did last, and what is stuck. */

import { linkTo } from "../address.js";
import { useAsk, useList } from "../asking.js";
import { Answer, Empty, Facts, Page, Rows, Table } from "../parts/answers.js";
import { At, count, counted, When } from "../parts/words.js";
import { useHas } from "../session.js";
import { CONFLICT_COLUMNS, type ConflictItem } from "./conflicts.js";
import { PARKED_COLUMNS, type ParkedItem } from "./parked.js";
import { type ReplicaItem, STATES, StateTag } from "./replicas.js";
import { SYNC_COLUMNS, type SyncEntry } from "./sync_log.js";

interface Detail {
  readonly replica: ReplicaItem & {
    readonly seen_seq: number;
    readonly last_n: number;
  };
  readonly views: readonly {
    readonly hash: string;
    readonly tables: Readonly<Record<string, string | null>>;
  }[];
}

export function Replica({ id }: { id: string }) {
  const path = `replicas/${encodeURIComponent(id)}`;
  const asked = useAsk<Detail>(path, {}, ["replicas", "commits"]);
  return (
    <Page title={asked.answer?.replica.name || `Replica ${id}`}>
      <Answer of={asked}>{(detail) => <Shown of={detail} />}</Answer>
      <Stuck id={id} />
    </Page>
  );
}

function Shown({ of: { replica: of, views } }: { of: Detail }) {
  return (
    <>
      <Facts
        of={[
          [
            "State",
            <>
              <StateTag of={of.state} /> {STATES[of.state]?.[1]}
            </>,
          ],
          ["Of", of.principal + (of.tenant ? ` in ${of.tenant}` : "")],
          ["Behind", of.behind === 0 ? "nothing" : counted(of.behind, "commit")],
          [
            "Seen",
            <>
              <When ms={of.seen_ms} />, at commit {count(of.seen_seq)}
            </>,
          ],
          ["Registered", <At ms={of.created_ms} />],
          ["Changes that it pushed", count(of.last_n)],
          ["Of these, not confirmed yet", count(of.unconfirmed)],
          ...(of.reported
            ? ([
                [
                  "Waits on the device",
                  <>
                    {counted(of.reported.pending, "change")}, as it said{" "}
                    <When ms={of.reported.at_ms} />
                  </>,
                ],
              ] as const)
            : []),
          ["Id", <code>{of.id}</code>],
        ]}
      />
      <p>
        <a href={linkTo(["audit"], { replica: of.id })}>What it changed</a>
      </p>
      <h2>What it has</h2>
      {views.map((view) => (
        <Table
          key={view.hash}
          caption="Tables of its clone"
          items={Object.entries(view.tables)}
          columns={[
            {
              name: "Table",
              show: ([name]) => <a href={linkTo(["tables", name])}>{name}</a>,
            },
            {
              name: "Rows",
              show: ([, rule]) =>
                rule === null ? (
                  "all that it may read"
                ) : rule === "False" ? (
                  "none: it may read none of them"
                ) : (
                  <code>{rule}</code>
                ),
            },
          ]}
        />
      ))}
      {views.length === 0 && (
        <Empty>
          <p>It has not pulled yet.</p>
        </Empty>
      )}
    </>
  );
}

/** What is stuck, and what it did last: lists of their own, narrowed to this replica. */
function Stuck({ id }: { id: string }) {
  const has = useHas();
  const parked = useList<ParkedItem>(has("parked") ? "parked" : null, { replica: id }, ["parked"]);
  const conflicts = useList<ConflictItem>(has("conflicts") ? "conflicts" : null, { replica: id }, [
    "conflicts",
  ]);
  const sync = useList<SyncEntry>(has("sync") ? "sync" : null, { replica: id }, ["sync"]);
  return (
    <>
      <h2>Refused changes</h2>
      <Rows
        of={parked}
        caption="Refused changes"
        columns={PARKED_COLUMNS}
        empty={<p>The hub has refused nothing of it.</p>}
      />
      <h2>Conflicts</h2>
      <Rows
        of={conflicts}
        caption="Conflicts"
        columns={CONFLICT_COLUMNS}
        empty={<p>Its changes met no others.</p>}
      />
      <h2>Newest syncs</h2>
      <Rows
        of={sync}
        caption="Newest syncs"
        columns={SYNC_COLUMNS}
        empty={<p>Nothing is kept of its syncs.</p>}
      />
    </>
  );
}
