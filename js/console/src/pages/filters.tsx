/** Filters: conditions that rows must meet for a role, besides its permissions. */

import { Problem, tell } from "../api.js";
import { useList } from "../asking.js";
import { EditedRows, remove, textIn } from "../parts/editing.js";
import { Check, Choice, Field } from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { Tag } from "../parts/words.js";
import { useOwn } from "./people/directory.js";

interface FilterItem {
  readonly tenant: string;
  readonly role: string;
  readonly table: string;
  readonly name: string;
  readonly condition: unknown;
  readonly text: string;
  readonly is_active: boolean;
  readonly etag: string;
  readonly url?: string | null;
}

export function CellFilters({
  tenant,
  roles,
  tables,
  canEdit,
}: {
  tenant: string;
  roles: readonly string[];
  tables: readonly string[];
  canEdit: boolean;
}) {
  const asked = useList<FilterItem>("filters", { tenant }, ["permissions"]);
  const own = useOwn();
  return (
    <section id="filters">
      <h2>Filters</h2>
      <EditedRows
        of={asked}
        what="filter"
        caption="Filters"
        whyNot={canEdit ? own : "Permissions are kept elsewhere."}
        nameOf={(one) => `the filter “${one.name}”`}
        urlOf={(one) => one.url}
        columns={[
          { name: "Name", show: (one) => one.name },
          { name: "Role", show: (one) => one.role },
          { name: "Table", show: (one) => one.table },
          { name: "Only rows with", show: (one) => <code>{one.text}</code> },
          {
            name: "",
            show: (one) => (one.is_active ? <Tag is="good">active</Tag> : <Tag>off</Tag>),
          },
        ]}
        save={async (form, item) => {
          const of = {
            role: item?.role ?? textIn(form, "role"),
            table: item?.table ?? textIn(form, "table"),
            name: item?.name ?? textIn(form, "name"),
          };
          const condition = conditionOf(textIn(form, "condition"));
          const is_active = form.get("is_active") === "on";
          await tell("PUT", "filters", { tenant, ...of, condition, is_active }, item?.etag ?? "-");
          say(`The filter “${of.name}” is saved.`);
        }}
        fields={(item) => (
          <>
            {item === null ? (
              <>
                <Choice name="role" label="Role" of={roles.map((name) => [name, name])} />
                <Choice name="table" label="Table" of={tables.map((name) => [name, name])} />
                <Field name="name" label="Name" isNeeded />
              </>
            ) : (
              <p>
                {item.role}, {item.table}
              </p>
            )}
            <label>
              Only rows with
              <textarea name="condition" rows={6} required spellcheck={false}>
                {item === null
                  ? '{"field": "store", "operator": "exact", "value": 7}'
                  : JSON.stringify(item.condition, null, 2)}
              </textarea>
              <small>
                JSON: field, operator and value; and, or, not. A value may be{" "}
                <code>{'{"user": "claim"}'}</code>.
              </small>
            </label>
            <Check name="is_active" label="Active" isOn={item?.is_active ?? true} />
          </>
        )}
        removal={{
          text: (one) => `${one.role} will see rows of ${one.table} that it hides now.`,
          done: (one) => `The filter “${one.name}” is deleted.`,
          run: ({ role, table, name, etag }) =>
            remove("filters", { tenant, role, table, name }, etag),
        }}
        empty={<p>No filter narrows these permissions.</p>}
      />
    </section>
  );
}

function conditionOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem("bad-request", "The condition is no JSON: look at its commas and quotes.");
  }
}
