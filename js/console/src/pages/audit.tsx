/** Audit: who changed what, when and where; commits, changes, and what administrators did. */

import { useState } from "preact/hooks";
import { linkTo, useAddress } from "../address.js";
import { tell, urlOf } from "../api.js";
import { useDeed, useList } from "../asking.js";
import { Listing, Nothing, Page, Rows, Table, Trouble } from "../parts/answers.js";
import { ChoiceFilter, Filters, SpanFilter, TextFilter } from "../parts/forms.js";
import { Tabs } from "../parts/tabs.js";
import { count, textOf, Value, When } from "../parts/words.js";
import { ChangeCard, type ChangeItem } from "./changes.js";

export interface CommitItem {
  readonly seq: number;
  readonly at_ms: number;
  readonly changes: number;
  readonly tables: Readonly<Record<string, number>>;
  readonly actors: readonly (string | null)[];
  readonly replicas: readonly { readonly id: string; readonly name: string }[];
  readonly is_partial: boolean;
}

/** How many changes a commit has; of a large one, that it is more than were counted. */
export const changesOf = (one: CommitItem): string =>
  (one.is_partial ? "more than " : "") + count(one.changes);

interface Act {
  readonly id: number | string;
  readonly at_ms: number;
  readonly actor: string | null;
  readonly what: string;
  readonly about: string;
  readonly before: unknown;
  readonly after: unknown;
}

interface Scanned {
  readonly scanned_to_ms?: number | null;
}

export function Audit() {
  const { query } = useAddress();
  const tab = query.get("tab") ?? "commits";
  return (
    <Page
      title="Audit"
      lead="Every committed change of a tracked table, whoever made it, and what administrators did."
    >
      <Tabs
        of={[
          ["commits", "Commits"],
          ["changes", "Changes"],
          ["acts", "Administrators"],
        ]}
        first="commits"
      />
      {tab === "acts" ? <Acts /> : tab === "changes" ? <Changes /> : <Commits />}
    </Page>
  );
}

/** What narrows the lists of this page. */
function useAsked(): Record<string, string> {
  const { query } = useAddress();
  const { tab: _tab, ...params } = Object.fromEntries(query);
  return params;
}

function LogFilters() {
  return (
    <Filters>
      <TextFilter name="table" label="Table" />
      <TextFilter name="actor" label="Who" />
      <TextFilter name="replica" label="Replica's id" />
      <SpanFilter />
    </Filters>
  );
}

function Downloads({ params }: { params: Record<string, string> }) {
  return (
    <p class="row">
      {(["csv", "ndjson"] as const).map((format) => (
        <a class="button small secondary" href={urlOf("export", { ...params, format })} download>
          Download {format === "csv" ? "CSV" : "NDJSON"}
        </a>
      ))}
      <Verify />
    </p>
  );
}

function More({ of }: { of: Scanned | null }) {
  return of?.scanned_to_ms ? (
    <p class="soft">
      Looked back to <When ms={of.scanned_to_ms} />.
    </p>
  ) : null;
}

function Commits() {
  const params = useAsked();
  const list = useList<CommitItem, Scanned>("commits", params, ["commits"]);
  return (
    <>
      <LogFilters />
      <Downloads params={params} />
      <Rows
        of={list}
        caption="Commits, newest first"
        more="Look further back"
        columns={[
          {
            name: "Commit",
            show: (one) => <a href={linkTo(["audit", String(one.seq)])}>{one.seq}</a>,
          },
          { name: "When", show: (one) => <When ms={one.at_ms} /> },
          {
            name: "Who",
            show: (one) =>
              one.actors.map((actor) => actor ?? "the backend").join(", ") || "the backend",
          },
          {
            name: "Where",
            show: (one) =>
              one.replicas.map((replica, index) => (
                <>
                  {index > 0 && ", "}
                  <a href={linkTo(["replicas", replica.id])}>{replica.name || replica.id}</a>
                </>
              )),
          },
          {
            name: "Tables",
            show: (one) =>
              Object.entries(one.tables)
                .map(([name, rows]) => `${name} ${count(rows)}`)
                .join(", ") + (one.is_partial ? " …" : ""),
          },
          { name: "Changes", show: changesOf, isNumber: true },
        ]}
        empty={<Nothing yet="Nothing was changed yet." what="commit" />}
      />
      <More of={list.answer} />
    </>
  );
}

function Changes() {
  const params = useAsked();
  const list = useList<ChangeItem, Scanned>("changes", params, ["commits"]);
  return (
    <>
      <LogFilters />
      <Filters>
        <ChoiceFilter
          name="op"
          label="What happened"
          options={[
            ["insert", "created"],
            ["update", "changed"],
            ["delete", "deleted"],
          ]}
        />
      </Filters>
      <Downloads params={params} />
      <Listing of={list} more="Look further back" empty={<p>No change is like this.</p>}>
        {(changes) => changes.map((change) => <ChangeCard of={change} key={change.id} />)}
      </Listing>
      <More of={list.answer} />
    </>
  );
}

function Acts() {
  const list = useList<Act>("acts", useAsked(), ["acts"]);
  return (
    <>
      <Filters>
        <TextFilter name="actor" label="Who" />
        <TextFilter name="what" label="What" />
        <SpanFilter />
      </Filters>
      <Rows
        of={list}
        caption="What administrators did, newest first"
        columns={[
          { name: "When", show: (act) => <When ms={act.at_ms} /> },
          { name: "Who", show: (act) => act.actor ?? "" },
          { name: "What", show: (act) => act.what },
          { name: "About", show: (act) => act.about },
          {
            name: "Before",
            show: (act) => <Value of={act.before === null ? null : textOf(act.before)} />,
          },
          {
            name: "After",
            show: (act) => <Value of={act.after === null ? null : textOf(act.after)} />,
          },
        ]}
        empty={<p>Nobody has changed anything in the console yet.</p>}
      />
    </>
  );
}

interface Verified {
  readonly checked: number;
  readonly next: number | null;
  readonly head: number;
  readonly problems: readonly { readonly seq: number; readonly text: string }[];
}

/** Check the log, a piece at a time. */
function Verify() {
  const deed = useDeed();
  const [checked, setChecked] = useState<number | null>(null);
  const [problems, setProblems] = useState<Verified["problems"]>([]);
  const verify = () =>
    deed.run(async () => {
      setProblems([]);
      let [after, total] = [0 as number | null, 0];
      while (after !== null) {
        const answer: Verified = await tell("POST", "verify", { after_seq: after });
        total += answer.checked;
        setChecked(total);
        setProblems((before) => [...before, ...answer.problems]);
        after = answer.next;
      }
    });
  return (
    <>
      <button
        type="button"
        class="small secondary"
        aria-busy={deed.isBusy}
        disabled={deed.isBusy}
        onClick={verify}
      >
        Check the log
      </button>
      {checked !== null && (
        <span role="status">
          {count(checked)} commits checked
          {deed.isBusy
            ? "…"
            : problems.length > 0
              ? ":"
              : ": none is missing, each has all its changes, times grow, and rows are there or gone as the log says. Values are not compared."}
        </span>
      )}
      {deed.problem && <Trouble problem={deed.problem} />}
      {problems.length > 0 && (
        <Table
          caption="Problems of the log"
          items={problems}
          columns={[
            { name: "Commit", show: (one) => one.seq },
            { name: "Problem", show: (one) => one.text },
          ]}
        />
      )}
    </>
  );
}
