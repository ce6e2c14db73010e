/** One table: its columns, its rules as code and JSON, and how many rows it has. */

import { linkTo } from "../address.js";
import { useAsk } from "../asking.js";
import { Answer, Empty, Facts, Page, Table } from "../parts/answers.js";
import { count, Tag, When } from "../parts/words.js";
import { RulesTag, type TableItem } from "./tables.js";

interface TableDetail extends TableItem {
  readonly columns_list: readonly {
    readonly name: string;
    readonly type: string;
    readonly nullable: boolean;
    readonly generated: boolean;
    readonly merge: string;
    readonly hidden_by_rule: boolean;
  }[];
  readonly foreign_keys: readonly {
    readonly columns: readonly string[];
    readonly parent: string;
    readonly parent_columns: readonly string[];
  }[];
  readonly rules_text: Readonly<Record<string, unknown>> | null;
  readonly rules_json: unknown;
  readonly rows: { readonly count: number; readonly is_exact: boolean };
  readonly last_change_ms: number | null;
}

export function TablePage({ id }: { id: string }) {
  const asked = useAsk<TableDetail>(`tables/${encodeURIComponent(id)}`, {}, [
    "tables",
    "rules",
    "commits",
  ]);
  return (
    <Page
      title={id}
      actions={
        <>
          <a class="button small secondary" href={linkTo(["audit"], { tab: "changes", table: id })}>
            Changes
          </a>
          <a class="button small secondary" href={linkTo(["view-as"], { table: id })}>
            View as…
          </a>
        </>
      }
    >
      <Answer of={asked}>{(table) => <Shown of={table} />}</Answer>
    </Page>
  );
}

function Shown({ of }: { of: TableDetail }) {
  const { columns: byColumn, ...verbs } = of.rules_text ?? {};
  return (
    <>
      <Facts
        of={[
          ["Rows", of.rows.is_exact ? count(of.rows.count) : `more than ${count(of.rows.count)}`],
          ["Last change", <When ms={of.last_change_ms} />],
          ["Rules", <RulesTag of={of} />],
          ["Policy", of.policy ?? "none"],
          ["Tenant", of.tenant ?? "not by tenant"],
          ["Key", of.key.join(", ") + (of.generated_key ? ", generated" : "")],
          ["Deleted here, changed there", of.row_merge],
          ["Version", of.version],
        ]}
      />
      <h2>Columns</h2>
      <Table
        caption="Columns"
        items={of.columns_list}
        columns={[
          { name: "Column", show: (one) => one.name },
          { name: "Type", show: (one) => one.type + (one.nullable ? "" : ", needed") },
          { name: "Merge", show: (one) => one.merge },
          {
            name: "",
            show: (one) => (
              <>
                {one.generated && <Tag>computed</Tag>}{" "}
                {one.hidden_by_rule && <Tag is="warn">by rule</Tag>}
              </>
            ),
          },
        ]}
      />
      {of.foreign_keys.length > 0 && (
        <>
          <h2>Points to</h2>
          <Table
            caption="Foreign keys"
            items={of.foreign_keys}
            columns={[
              { name: "Columns", show: (one) => one.columns.join(", ") },
              {
                name: "Table",
                show: (one) => <a href={linkTo(["tables", one.parent])}>{one.parent}</a>,
              },
              { name: "Its columns", show: (one) => one.parent_columns.join(", ") },
            ]}
          />
        </>
      )}
      <h2>Who may do what</h2>
      {of.rules_text === null ? (
        <Empty>
          <p>
            {of.rules === "closed"
              ? "The table is closed: nobody may read or write it."
              : of.rules === "policy"
                ? `The class ${of.policy} of the backend decides.`
                : "No rules: whoever has a token reads and writes all rows."}
          </p>
        </Empty>
      ) : (
        <>
          <Facts of={Object.entries(verbs).map(([verb, rule]) => [verb, <Rule of={rule} />])} />
          {Object.entries((byColumn ?? {}) as Record<string, Record<string, unknown>>).map(
            ([name, rules]) => (
              <Facts
                of={Object.entries(rules).map(([verb, rule]) => [
                  `${verb} ${name}`,
                  <Rule of={rule} />,
                ])}
              />
            ),
          )}
          <details>
            <summary>As JSON</summary>
            <pre>{JSON.stringify(of.rules_json, null, 2)}</pre>
          </details>
        </>
      )}
      <p class="soft">
        Rules are written in the backend's code; permissions of roles are in the matrix.
      </p>
    </>
  );
}

function Rule({ of }: { of: unknown }) {
  return <code>{of === null || of === undefined ? "nobody" : String(of)}</code>;
}
