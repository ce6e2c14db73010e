/** Tenants: sealed compartments of the data, and what rows have for them. */

import { linkTo } from "../../address.js";
import { tell } from "../../api.js";
import { useList } from "../../asking.js";
import { EditedRows, remove, textIn } from "../../parts/editing.js";
import { Check, Field } from "../../parts/forms.js";
import { say } from "../../parts/notes.js";
import { count, Tag, Value, valueIn } from "../../parts/words.js";
import { type Tenant, TOPICS, useOwn } from "./directory.js";

export function Tenants() {
  const asked = useList<Tenant>("tenants", {}, TOPICS);
  return (
    <EditedRows
      of={asked}
      what="tenant"
      caption="Tenants"
      whyNot={useOwn()}
      nameOf={(one) => one.name}
      urlOf={(one) => one.url}
      columns={[
        { name: "Tenant", show: (one) => one.name },
        { name: "Title", show: (one) => one.title ?? "" },
        { name: "In rows", show: (one) => <Value of={one.value} /> },
        { name: "", show: (one) => (one.is_active ? "" : <Tag is="bad">off</Tag>) },
        { name: "Users", show: (one) => count(one.users), isNumber: true },
        {
          name: "Replicas",
          show: (one) => (
            <a href={linkTo(["replicas"], { tenant: one.name })}>{count(one.replicas)}</a>
          ),
          isNumber: true,
        },
        {
          name: "",
          show: (one) => <a href={linkTo(["permissions"], { tenant: one.name })}>Permissions</a>,
        },
      ]}
      save={async (form, item) => {
        const name = item?.name ?? textIn(form, "name");
        const value = textIn(form, "value");
        await tell("PUT", "tenants", {
          name,
          title: textIn(form, "title"),
          is_active: form.get("is_active") === "on",
          ...(value !== "" && { value: valueIn(value) }),
        });
        say(`${name} is saved.`);
      }}
      fields={(item) => (
        <>
          {item === null && <Field name="name" label="Name" isNeeded />}
          <Field name="title" label="Title" value={item?.title ?? ""} />
          <Field
            name="value"
            label="What rows have in their tenant column"
            value={item === null || item.value === null ? "" : JSON.stringify(item.value)}
            hint="A number, or a text in quotes; left empty, the name."
          />
          <Check name="is_active" label="Active" isOn={item?.is_active ?? true} />
        </>
      )}
      removal={{
        text: () =>
          "Its members lose their roles in it, and its devices read nothing more. Rows stay.",
        run: (one) => remove("tenants", { name: one.name }),
      }}
      empty={<p>There are no tenants: all rows belong to one house.</p>}
    />
  );
}
