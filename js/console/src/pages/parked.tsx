/** Parked: changes that the hub refused, which wait on their devices. */

import { linkTo, useAddress } from "../address.js";
import { tell } from "../api.js";
import { useDeed, useList } from "../asking.js";
import { type Column, Page, Rows, Trouble } from "../parts/answers.js";
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
  readonly state: "open" | "asked" | "settled";
  readonly asked: { readonly what: string; readonly by: string; readonly at_ms: number } | null;
}

const KINDS = { open: "warn", asked: "plain", settled: "good" } as const;

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
  readonly can_ask?: boolean;
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
      title="Parked changes"
      lead="Changes that the hub refused. They wait on the devices that made them, with the reason: nothing is lost."
    >
      <Filters>
        <ChoiceFilter
          name="state"
          label="State"
          options={["open", "asked", "settled"].map((name) => [name, name] as const)}
        />
        <ChoiceFilter
          name="code"
          label="Why"
          options={(asked.answer?.codes ?? []).map((code) => [code, code] as const)}
        />
        <TextFilter name="table" label="Table" />
        <TextFilter name="replica" label="Replica's id" />
      </Filters>
      <Rows
        of={asked}
        caption="Refused changes, newest first"
        columns={[...PARKED_COLUMNS, deeds]}
        empty={
          <p>
            {query.size > 0
              ? "No refused change is like this: change the filters."
              : "The hub has refused nothing."}
          </p>
        }
      />
    </Page>
  );
}

function Deeds({ of, again }: { of: ParkedItem; again: () => void }) {
  const deed = useDeed();
  if (of.state === "asked" && of.asked) {
    return (
      <span class="soft">
        {of.asked.by} asked the device to {of.asked.what} it, <When ms={of.asked.at_ms} />
      </span>
    );
  }
  if (of.state !== "open") return null;
  const have = (what: "retry" | "discard") =>
    deed.run(async () => {
      await tell("POST", `parked/${encodeURIComponent(String(of.id))}`, { do: what });
      say("The device is asked with its next sync.");
      again();
    });
  return (
    <span class="row">
      <DoButton class="small secondary" isBusy={deed.isBusy} onClick={() => have("retry")}>
        Retry
      </DoButton>
      <DoButton class="small secondary" isBusy={deed.isBusy} onClick={() => have("discard")}>
        Discard
      </DoButton>
      {deed.problem && <Trouble problem={deed.problem} />}
    </span>
  );
}
