/** Replicas: every device, and how far it has read. */

import type { ComponentChildren } from "preact";
import { goAsking, linkTo, useAddress } from "../address.js";
import { useList } from "../asking.js";
import { Cards, type Column, Nothing, Page, Rows, Table } from "../parts/answers.js";
import { ChoiceFilter, Filters, TextFilter } from "../parts/forms.js";
import { count, counted, Tag, When } from "../parts/words.js";

export interface ReplicaItem {
  readonly id: string;
  readonly name: string;
  readonly principal: string;
  readonly tenant: string | null;
  readonly created_ms: number;
  readonly seen_ms: number;
  readonly behind: number;
  readonly unconfirmed: number;
  readonly state: "current" | "behind" | "silent" | "outdated";
  readonly parked: number;
  readonly conflicts: number;
  readonly is_live?: boolean;
  readonly reported: { readonly pending: number; readonly at_ms: number } | null;
}

interface Head {
  readonly total: number;
  readonly counts: Readonly<Record<ReplicaItem["state"], number>>;
}

export const STATES = {
  current: ["good", "has confirmed the newest commit"],
  behind: ["plain", "has not confirmed the newest commits yet"],
  silent: ["warn", "was not seen for a week"],
  outdated: ["bad", "is behind what was trimmed, and will clone again"],
} as const;

export function StateTag({ of }: { of: ReplicaItem["state"] }) {
  const [kind, title] = STATES[of] ?? ["plain", ""];
  return (
    <span title={title}>
      <Tag is={kind}>{of}</Tag>
    </span>
  );
}

const COLUMNS: readonly Column<ReplicaItem>[] = [
  {
    name: "Replica",
    sort: "name",
    show: (one) => <a href={linkTo(["replicas", one.id])}>{one.name || one.id}</a>,
  },
  {
    name: "State",
    show: (one) => (
      <>
        <StateTag of={one.state} /> {one.is_live && <Tag is="good">live</Tag>}
      </>
    ),
  },
  { name: "Of", show: (one) => one.principal },
  { name: "Tenant", show: (one) => one.tenant ?? "" },
  { name: "Behind", sort: "behind", show: (one) => count(one.behind), isNumber: true },
  { name: "Parked", show: (one) => count(one.parked), isNumber: true },
  { name: "Conflicts", show: (one) => count(one.conflicts), isNumber: true },
  { name: "Seen", sort: "seen", show: (one) => <When ms={one.seen_ms} /> },
];

export function Replicas() {
  const { query } = useAddress();
  const asked = useList<ReplicaItem, Head>("replicas", Object.fromEntries(query), [
    "replicas",
    "commits",
    "parked",
  ]);
  const by = query.get("sort") ?? "seen";
  const isDescending = query.get("order") !== "asc";
  const counts = asked.answer?.counts;
  return (
    <Page
      title="Replicas"
      lead="Every device and server that has cloned this hub, and how far it has read."
    >
      {counts && (
        <Cards
          of={(["current", "behind", "silent", "outdated"] as const).map((state) => [
            state,
            count(counts[state]),
            linkTo(["replicas"], { state }),
          ])}
        />
      )}
      <Filters>
        <TextFilter name="q" label="Name, id or user" />
        <ChoiceFilter name="state" label="State" options={Object.keys(STATES)} />
        <TextFilter name="principal" label="User" />
        <TextFilter name="tenant" label="Tenant" />
      </Filters>
      {asked.answer && <p class="soft">{count(asked.answer.total)} of them</p>}
      <Rows
        of={asked}
        caption="Replicas"
        columns={COLUMNS}
        sort={{
          by,
          isDescending,
          set: (sort, down) => goAsking({ sort, order: down ? "desc" : "asc" }),
        }}
        empty={
          <Nothing
            what="replica"
            yet={
              <>
                No device has registered yet: <code>reunite clone</code> this hub, or open a page
                that connects to it.
              </>
            }
          />
        }
      />
    </Page>
  );
}

export interface Lagging {
  readonly id: string;
  readonly name: string;
  readonly principal: string;
  readonly behind: number;
  readonly seen_ms: number;
}

/** Replicas that have the most to read. */
export function LagTable({ of, empty }: { of: readonly Lagging[]; empty: ComponentChildren }) {
  return (
    <Table
      caption="Replicas that are furthest behind"
      items={of}
      empty={<p>{empty}</p>}
      columns={[
        {
          name: "Replica",
          show: (one) => <a href={linkTo(["replicas", one.id])}>{one.name || one.id}</a>,
        },
        { name: "Of", show: (one) => one.principal },
        { name: "Behind", show: (one) => counted(one.behind, "commit"), isNumber: true },
        { name: "Seen", show: (one) => <When ms={one.seen_ms} /> },
      ]}
    />
  );
}
