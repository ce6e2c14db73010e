/** Tokens that were made for good, and making one: it is shown once. */

import { useState } from "preact/hooks";
import { tell } from "../../api.js";
import { useList } from "../../asking.js";
import { EditedRows, remove, textIn } from "../../parts/editing.js";
import { Dialog, Field } from "../../parts/forms.js";
import { When } from "../../parts/words.js";
import { TOPICS, useOwn } from "./directory.js";

interface Token {
  readonly id: string;
  readonly label: string;
  readonly user: string;
  readonly tenant: string | null;
  readonly roles: readonly string[];
  readonly created_ms: number;
}

const nameOf = (one: Token): string => one.label || one.id;

export function Tokens() {
  const asked = useList<Token>("tokens", {}, TOPICS);
  const [made, setMade] = useState<string | null>(null);
  return (
    <>
      <EditedRows
        of={asked}
        what="token"
        caption="Tokens"
        action="Make it"
        whyNot={useOwn()}
        canChange={false}
        nameOf={nameOf}
        columns={[
          { name: "Label", show: (one) => one.label },
          { name: "User", show: (one) => one.user },
          { name: "Tenant", show: (one) => one.tenant ?? "" },
          { name: "Roles", show: (one) => one.roles.join(", ") },
          { name: "Made", show: (one) => <When ms={one.created_ms} /> },
        ]}
        save={async (form) => {
          const [tenant, label] = [textIn(form, "tenant"), textIn(form, "label")];
          const roles = textIn(form, "roles")
            .split(",")
            .map((name) => name.trim())
            .filter(Boolean);
          const answer = await tell<{ token: string }>("POST", "tokens", {
            user: textIn(form, "user"),
            ...(tenant && { tenant }),
            ...(roles.length > 0 && { roles }),
            ...(label && { label }),
          });
          setMade(answer.token);
        }}
        fields={() => (
          <>
            <Field name="user" label="User" isNeeded />
            <Field name="tenant" label="Tenant" />
            <Field
              name="roles"
              label="Roles"
              hint="With commas between; left empty, those of the user."
            />
            <Field name="label" label="Label" hint="What it is for." />
          </>
        )}
        removal={{
          action: "Revoke",
          title: () => "Revoke this token?",
          text: (one) =>
            `Whatever uses the token “${nameOf(one)}” of ${one.user} is refused from now on.`,
          done: () => "The token is revoked.",
          run: (one) => remove("tokens", { id: one.id }),
        }}
        empty={<p>No token was made for good. Log-ins are in a list of their own.</p>}
      />
      {made !== null && (
        <Dialog title="The new token" onClose={() => setMade(null)}>
          <p>Copy it now: it is shown once, and kept nowhere.</p>
          <textarea
            readOnly
            rows={4}
            value={made}
            aria-label="Token"
            onFocus={(event) => event.currentTarget.select()}
          />
        </Dialog>
      )}
    </>
  );
}
