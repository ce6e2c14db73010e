/** Filters: conditions that rows must meet for a role, besides its permissions. */

import { useState } from "preact/hooks";
import { Problem, tell, urlOf } from "../api.js";
import { useList } from "../asking.js";
import { Rows } from "../parts/answers.js";
import { AskingButton, DoButton, Field, FormDialog } from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { Tag } from "../parts/words.js";

interface FilterItem {
  readonly tenant: string;
  readonly role: string;
  readonly table: string;
  readonly name: string;
  readonly condition: unknown;
  readonly text: string;
  readonly is_active: boolean;
  readonly etag: string;
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
  const [edited, setEdited] = useState<FilterItem | "new" | null>(null);
  const whyNot = canEdit ? null : "Permissions are kept elsewhere.";
  const save = async (form: FormData) => {
    const text = (name: string) => String(form.get(name) ?? "");
    const condition = conditionOf(text("condition"));
    const body = {
      tenant,
      role: text("role"),
      table: text("table"),
      name: text("name"),
      condition,
      is_active: form.get("is_active") === "on",
    };
    await tell("PUT", "filters", body, edited === "new" || edited === null ? "-" : edited.etag);
    say(`The filter “${body.name}” is saved.`);
    asked.again();
  };
  return (
    <section id="filters">
      <h2>
        Filters{" "}
        <DoButton class="small secondary" whyNot={whyNot} onClick={() => setEdited("new")}>
          New filter
        </DoButton>
      </h2>
      <Rows
        of={asked}
        caption="Filters"
        columns={[
          { name: "Name", show: (one) => one.name },
          { name: "Role", show: (one) => one.role },
          { name: "Table", show: (one) => one.table },
          { name: "Only rows with", show: (one) => <code>{one.text}</code> },
          {
            name: "",
            show: (one) => (one.is_active ? <Tag is="good">active</Tag> : <Tag>off</Tag>),
          },
          {
            name: "",
            show: (one) => (
              <span class="row">
                <DoButton class="small secondary" whyNot={whyNot} onClick={() => setEdited(one)}>
                  Change
                </DoButton>
                <AskingButton
                  title={`Delete the filter “${one.name}”?`}
                  text={`${one.role} will see rows of ${one.table} that it hides now.`}
                  whyNot={whyNot}
                  deed={async () => {
                    const { role, table, name } = one;
                    await tell(
                      "DELETE",
                      urlOf("filters", { tenant, role, table, name }).slice(4),
                      undefined,
                      one.etag,
                    );
                    asked.again();
                  }}
                >
                  Delete
                </AskingButton>
              </span>
            ),
          },
        ]}
        empty={<p>No filter narrows these permissions.</p>}
      />
      {edited !== null && (
        <FormDialog
          title={edited === "new" ? "New filter" : `Filter “${edited.name}”`}
          action="Save"
          save={save}
          onClose={() => setEdited(null)}
        >
          {edited === "new" ? (
            <>
              <Choice name="role" label="Role" of={roles} />
              <Choice name="table" label="Table" of={tables} />
              <Field name="name" label="Name" isNeeded />
            </>
          ) : (
            <>
              <input type="hidden" name="role" value={edited.role} />
              <input type="hidden" name="table" value={edited.table} />
              <input type="hidden" name="name" value={edited.name} />
              <p>
                {edited.role}, {edited.table}
              </p>
            </>
          )}
          <label>
            Only rows with
            <textarea name="condition" rows={6} required spellcheck={false}>
              {edited === "new"
                ? '{"field": "store", "operator": "exact", "value": 7}'
                : JSON.stringify(edited.condition, null, 2)}
            </textarea>
            <small>
              JSON: field, operator and value; and, or, not. A value may be{" "}
              <code>{'{"user": "claim"}'}</code>.
            </small>
          </label>
          <label>
            <input
              type="checkbox"
              name="is_active"
              defaultChecked={edited === "new" || edited.is_active}
            />{" "}
            Active
          </label>
        </FormDialog>
      )}
    </section>
  );
}

function Choice({ name, label, of }: { name: string; label: string; of: readonly string[] }) {
  return (
    <label>
      {label}
      <select name={name}>
        {of.map((one) => (
          <option value={one}>{one}</option>
        ))}
      </select>
    </label>
  );
}

function conditionOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem("bad-request", "The condition is no JSON: look at its commas and quotes.");
  }
}
