/** Parked: changes that the hub refused, which wait on their devices. */

import { linkTo, useAddress } from "../address.js";
import { tell } from "../api.js";
import { useDeed, useList } from "../asking.js";
import { type Column, Nothing, Page, Rows, Trouble } from "../parts/answers.js";
import { ChoiceFilter, DoButton, Filters, TextFilter } from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { keyOf, Tag, When } from "../parts/words.js";
import { rowLink } from "./changes.js";

export interface ParkedItem {
  readonly id: number | string;
  readonly table: string;
  readonly key: readonly unknown[];
  readonly op: "insert" | "update" | "delete";
  readonly code: string;
  readonly reason: string;
  readonly columns: readonly string[];
  readonly at_ms: number;
  readonly replica: string | null;
  readonly replica_name: string | null;
  readonly principal: string | null;
  readonly state: "open" | "settled";
  readonly settled_by?: string | null;
  readonly settled_ms?: number | null;
}

const KINDS = { open: "warn", settled: "good" } as const;

export const PARKED_COLUMNS: readonly Column<ParkedItem>[] = [
  {
    name: "Row",
    show: (one) => (
      <a href={rowLink(one.table, one.key)}>
        {one.table} {keyOf(one.key)}
      </a>
    ),
  },
  { name: "What", show: (one) => one.op },
  {
    name: "Why",
    show: (one) => (
      <>
        <code>{one.code}</code> {one.reason}
      </>
    ),
  },
  {
    name: "Device",
    show: (one) =>
      one.replica ? (
        <a href={linkTo(["replicas", one.replica])}>{one.replica_name || one.replica}</a>
      ) : (
        ""
      ),
  },
  { name: "Who", show: (one) => one.principal ?? "" },
  { name: "State", show: (one) => <Tag is={KINDS[one.state] ?? "plain"}>{one.state}</Tag> },
  { name: "When", show: (one) => <When ms={one.at_ms} /> },
];

interface Head {
  readonly codes?: readonly string[];
}

export function Parked() {
  const { query } = useAddress();
  const asked = useList<ParkedItem, Head>("parked", Object.fromEntries(query), ["parked"]);
  const deeds: Column<ParkedItem> = {
    name: "",
    show: (one) => <Deeds of={one} again={asked.again} />,
  };
  return (
    <Page
      title="Parked"
      lead="Changes that the hub refused. They wait on the devices that made them, with the reason, until somebody there retries or gives them up: nothing is lost. Settle here what needs nobody's care any more."
    >
      <Filters>
        <ChoiceFilter name="state" label="State" options={["open", "settled"]} />
        <ChoiceFilter name="code" label="Why" options={asked.answer?.codes ?? []} />
        <TextFilter name="table" label="Table" />
        <TextFilter name="replica" label="Replica's id" />
      </Filters>
      <Rows
        of={asked}
        caption="Refused changes, newest first"
        columns={[...PARKED_COLUMNS, deeds]}
        empty={<Nothing yet="The hub has refused nothing." what="refused change" />}
      />
    </Page>
  );
}

function Deeds({ of, again }: { of: ParkedItem; again: () => void }) {
  const deed = useDeed();
  const isOpen = of.state === "open";
  const settle = () =>
    deed.run(async () => {
      const path = `parked/${encodeURIComponent(String(of.id))}`;
      await tell("POST", path, { is_settled: isOpen });
      say(isOpen ? "It is settled." : "It is open again.");
      again();
    });
  return (
    <span class="row">
      {!isOpen && of.settled_by && (
        <span class="soft">
          by {of.settled_by}, <When ms={of.settled_ms} />
        </span>
      )}
      <DoButton class="small secondary" isBusy={deed.isBusy} onClick={settle}>
        {isOpen ? "Settle" : "Open again"}
      </DoButton>
      {deed.problem && <Trouble problem={deed.problem} />}
    </span>
  );
}
