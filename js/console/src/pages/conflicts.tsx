/** Conflicts: two values that met, and what came of it. */

import { linkTo, useAddress } from "../address.js";
import { useList } from "../asking.js";
import { type Column, Nothing, Page, Rows } from "../parts/answers.js";
import { ChoiceFilter, Filters, TextFilter } from "../parts/forms.js";
import { keyOf, Tag, Value, When } from "../parts/words.js";

export interface ConflictItem {
  readonly id: number | string;
  readonly table: string;
  readonly key: readonly unknown[];
  readonly column: string | null;
  readonly policy: string;
  readonly state: "open" | "decided" | "merged";
  readonly at_ms: number;
  readonly replica: string | null;
  readonly replica_name: string | null;
  readonly principal: string | null;
  readonly base: unknown;
  readonly hub: unknown;
  readonly replica_value: unknown;
  readonly result: unknown;
  readonly is_erased?: boolean;
  readonly decided: { readonly by: string; readonly at_ms: number; readonly value: string } | null;
}

const KINDS = { open: "warn", decided: "good", merged: "plain" } as const;

export function ConflictTag({ of }: { of: ConflictItem["state"] }) {
  return <Tag is={KINDS[of] ?? "plain"}>{of}</Tag>;
}

export const CONFLICT_COLUMNS: readonly Column<ConflictItem>[] = [
  {
    name: "Row",
    show: (one) => (
      <a href={linkTo(["conflicts", String(one.id)])}>
        {one.table} {keyOf(one.key)}
      </a>
    ),
  },
  { name: "Column", show: (one) => one.column ?? "the whole row" },
  { name: "State", show: (one) => <ConflictTag of={one.state} /> },
  { name: "Hub had", show: (one) => <Value of={one.hub} /> },
  { name: "Replica wanted", show: (one) => <Value of={one.replica_value} /> },
  { name: "Result", show: (one) => <Value of={one.result} /> },
  { name: "Whose", show: (one) => one.replica_name || one.principal || one.replica || "" },
  { name: "When", show: (one) => <When ms={one.at_ms} /> },
];

export function Conflicts() {
  const { query } = useAddress();
  const asked = useList<ConflictItem>("conflicts", Object.fromEntries(query), ["conflicts"]);
  return (
    <Page
      title="Conflicts"
      lead="Where two people changed the same without knowing of each other. Open ones wait for a decision; the others were decided by the column's policy, and can be overruled."
    >
      <Filters>
        <ChoiceFilter name="state" label="State" options={["open", "decided", "merged"]} />
        <TextFilter name="table" label="Table" />
        <TextFilter name="replica" label="Replica's id" />
      </Filters>
      <Rows
        of={asked}
        caption="Conflicts, newest first"
        columns={CONFLICT_COLUMNS}
        empty={
          <Nothing
            yet="No two changes have met yet."
            filtered={query.get("state") === "open" ? "No conflict waits for a decision." : null}
          />
        }
      />
    </Page>
  );
}
