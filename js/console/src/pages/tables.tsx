/** Tables: what is tracked, and by which rules. */

import { linkTo, useAddress } from "../address.js";
import { useList } from "../asking.js";
import { type Column, Nothing, Page, Rows } from "../parts/answers.js";
import { NameFilter } from "../parts/forms.js";
import { count, Tag } from "../parts/words.js";

export interface TableItem {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: number;
  readonly generated_key: boolean;
  readonly version: number;
  readonly rules: "rules" | "permissions" | "none" | "closed" | "policy";
  readonly tenant: string | null;
  readonly policy: string | null;
  readonly policy_missing: boolean;
  readonly row_merge: string;
}

const RULES = {
  rules: ["good", "rules", "Rules say who reads and writes which rows"],
  permissions: ["good", "permissions", "Stored permissions say who reads and writes it"],
  policy: ["good", "policy", "Code of the backend decides"],
  none: ["warn", "open", "Everybody with a token reads and writes all rows"],
  closed: ["bad", "closed", "Nobody reads or writes it"],
} as const;

export function RulesTag({ of }: { of: TableItem }) {
  const [kind, word, title] = RULES[of.rules] ?? ["plain", of.rules, ""];
  return (
    <span title={title}>
      <Tag is={of.policy_missing ? "bad" : kind}>
        {of.policy_missing ? "policy is missing" : word}
      </Tag>
    </span>
  );
}

const COLUMNS: readonly Column<TableItem>[] = [
  { name: "Table", show: (one) => <a href={linkTo(["tables", one.name])}>{one.name}</a> },
  { name: "Rules", show: (one) => <RulesTag of={one} /> },
  { name: "Tenant", show: (one) => one.tenant ?? "" },
  { name: "Key", show: (one) => one.key.join(", ") + (one.generated_key ? " (generated)" : "") },
  { name: "Columns", show: (one) => count(one.columns), isNumber: true },
  { name: "Version", show: (one) => one.version, isNumber: true },
];

export function Tables() {
  const { query } = useAddress();
  const asked = useList<TableItem>("tables", Object.fromEntries(query), ["tables", "rules"]);
  return (
    <Page title="Tables" lead="What this hub tracks, and who may read and write it.">
      <NameFilter name="q" label="Name" />
      <Rows
        of={asked}
        caption="Tracked tables"
        columns={COLUMNS}
        empty={
          <Nothing
            filtered="No tracked table has such a name."
            yet={
              <>
                Nothing is tracked yet: the backend calls <code>hub.track</code>, or see{" "}
                <a href="discovery">Discovery</a>.
              </>
            }
          />
        }
      />
    </Page>
  );
}
