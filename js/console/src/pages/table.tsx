/** One table: its columns, its rules as code and JSON, and how many rows it has. */

import { linkTo } from "../address.js";
import { useAsk } from "../asking.js";
import { Answer, Empty, Facts, Page, Table } from "../parts/answers.js";
import { count } from "../parts/words.js";
import { RulesTag, type TableItem } from "./tables.js";

interface TableDetail {
  readonly table: TableItem;
  readonly columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly nullable: boolean;
    readonly merge: string;
    readonly read: string | null;
    readonly write: string | null;
  }[];
  readonly foreign_keys: readonly {
    readonly columns: readonly string[];
    readonly parent: string;
    readonly parent_columns: readonly string[];
  }[];
  readonly rules_text: Readonly<Record<string, string | null>> | null;
  readonly rules_json: unknown;
  readonly rows: { readonly count: number; readonly is_exact: boolean };
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
  const { table } = of;
  return (
    <>
      <Facts
        of={[
          ["Rows", of.rows.is_exact ? count(of.rows.count) : `more than ${count(of.rows.count)}`],
          ["Rules", <RulesTag of={table} />],
          ["Policy", table.policy ?? "none"],
          ["Tenant", table.tenant ?? "not by tenant"],
          ["Key", table.key.join(", ") + (table.generated_key ? ", generated" : "")],
          ["Deleted here, changed there", table.row_merge],
          ["Version", table.version],
        ]}
      />
      <h2>Columns</h2>
      <Table
        caption="Columns"
        items={of.columns}
        columns={[
          { name: "Column", show: (one) => one.name },
          { name: "Type", show: (one) => one.type + (one.nullable ? "" : ", needed") },
          { name: "Merge", show: (one) => one.merge },
          {
            name: "Read by",
            show: (one) => (one.read === null ? "" : <code>{one.read}</code>),
          },
          {
            name: "Written by",
            show: (one) => (one.write === null ? "" : <code>{one.write}</code>),
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
            {table.rules === "closed"
              ? "The table is closed: nobody may read or write it."
              : table.rules === "permissions"
                ? "Stored permissions say who reads and writes it."
                : table.rules === "policy"
                  ? `The class ${table.policy} of the backend decides.`
                  : "It has no rules of its own."}
          </p>
        </Empty>
      ) : (
        <>
          <Facts
            of={Object.entries(of.rules_text).map(([verb, rule]) => [
              verb,
              <code>{rule ?? "nobody"}</code>,
            ])}
          />
          <details>
            <summary>As JSON</summary>
            <pre>{JSON.stringify(of.rules_json, null, 2)}</pre>
          </details>
        </>
      )}
      <p class="soft">
        Rules are written in the backend's code; what roles may do is in the{" "}
        <a href="permissions">matrix</a>.
      </p>
    </>
  );
}
