/** Roles: what permissions are given to. */

import { linkTo } from "../../address.js";
import { tell } from "../../api.js";
import { useDeed, useList } from "../../asking.js";
import { Trouble } from "../../parts/answers.js";
import { EditedRows, remove, textIn } from "../../parts/editing.js";
import { Choice, DoButton, Field } from "../../parts/forms.js";
import { say } from "../../parts/notes.js";
import { count } from "../../parts/words.js";
import { type Role, TOPICS, useOwn } from "./directory.js";

const TEMPLATES = ["full_access", "read_write", "read_only", "write_only", "custom"];

export function Roles() {
  const asked = useList<Role>("roles", {}, TOPICS);
  const deed = useDeed();
  const whyNot = useOwn();
  const addUsual = () =>
    deed.run(async () => {
      await tell("POST", "roles/groups");
      say("The usual roles are there.");
      asked.again();
    });
  return (
    <>
      {deed.problem && <Trouble problem={deed.problem} />}
      <EditedRows
        of={asked}
        what="role"
        caption="Roles"
        whyNot={whyNot}
        canChange={false}
        nameOf={(one) => one.name}
        urlOf={(one) => one.url}
        columns={[
          { name: "Role", show: (one) => one.name },
          { name: "Template", show: (one) => (one.template ?? "").replaceAll("_", " ") },
          { name: "Users", show: (one) => count(one.users), isNumber: true },
          {
            name: "",
            show: (one) => <a href={linkTo(["permissions"], { role: one.name })}>Permissions</a>,
          },
        ]}
        buttons={
          <DoButton class="small secondary" whyNot={whyNot} isBusy={deed.isBusy} onClick={addUsual}>
            Add the usual seven
          </DoButton>
        }
        save={async (form) => {
          const name = textIn(form, "name");
          await tell("PUT", "roles", { name, template: textIn(form, "template") });
          say(`${name} is saved.`);
        }}
        fields={() => (
          <>
            <Field name="name" label="Name" isNeeded />
            <Choice
              name="template"
              label="New permissions of it begin as"
              of={TEMPLATES.map((name) => [name, name.replaceAll("_", " ")])}
            />
          </>
        )}
        removal={{
          text: () => "Its permissions go with it, in every tenant.",
          run: (one) => remove("roles", { name: one.name }),
        }}
        empty={<p>There are no roles yet.</p>}
      />
    </>
  );
}
