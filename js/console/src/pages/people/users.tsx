/** Users: who they are, what rules may ask of them, and their roles. */

import { useState } from "preact/hooks";
import { linkTo, useAddress } from "../../address.js";
import { Problem, tell } from "../../api.js";
import { useAsk, useDeed, useList } from "../../asking.js";
import { Nothing, Trouble } from "../../parts/answers.js";
import { EditedRows, remove, textIn } from "../../parts/editing.js";
import { Check, Choice, Dialog, DoButton, Field, NameFilter } from "../../parts/forms.js";
import { say } from "../../parts/notes.js";
import { count, Tag, Value, When } from "../../parts/words.js";
import { type Role, type Tenant, TOPICS, type User, useOwn } from "./directory.js";

export function Users() {
  const { query } = useAddress();
  const asked = useList<User>("users", { q: query.get("q") }, TOPICS);
  const [ranked, setRanked] = useState<string | null>(null);
  const whyNot = useOwn();
  const shown = asked.items.find(({ name }) => name === ranked);
  return (
    <>
      <NameFilter name="q" label="Name" />
      <EditedRows
        of={asked}
        what="user"
        caption="Users"
        whyNot={whyNot}
        nameOf={(one) => one.name}
        urlOf={(one) => one.url}
        columns={[
          { name: "User", show: (one) => one.name },
          {
            name: "",
            show: (one) => (
              <>
                {!one.is_active && <Tag is="bad">off</Tag>}{" "}
                {!one.has_password && <Tag>no password</Tag>}
              </>
            ),
          },
          { name: "Roles", show: (one) => one.roles.map(rankOf).join(", ") },
          {
            name: "Claims",
            show: (one) => Object.keys(one.claims ?? {}).length > 0 && <Value of={one.claims} />,
          },
          {
            name: "Replicas",
            show: (one) => (
              <a href={linkTo(["replicas"], { principal: one.name })}>{count(one.replicas)}</a>
            ),
            isNumber: true,
          },
          {
            name: "Log-ins",
            show: (one) => (
              <a href={linkTo(["people"], { tab: "log-ins", user: one.name })}>
                {count(one.log_ins)}
              </a>
            ),
            isNumber: true,
          },
          { name: "Since", show: (one) => <When ms={one.created_ms} /> },
        ]}
        rowButtons={(one) => (
          <DoButton
            class="small secondary"
            whyNot={whyNot}
            label={`Roles of ${one.name}`}
            onClick={() => setRanked(one.name)}
          >
            Roles
          </DoButton>
        )}
        save={async (form, item) => {
          const password = String(form.get("password") ?? "");
          const name = item?.name ?? textIn(form, "name");
          await tell("PUT", "users", {
            name,
            claims: objectOf(textIn(form, "claims")),
            is_active: form.get("is_active") === "on",
            ...(password && { password }),
          });
          say(`${name} is saved.`);
        }}
        fields={(item) => <UserFields of={item} />}
        removal={{
          text: () => "Their log-ins end at once. What they wrote stays, and so does its history.",
          run: (one) => remove("users", { name: one.name }),
        }}
        empty={<Nothing yet="There are no users yet." filtered="Nobody is called so." by={["q"]} />}
      />
      {shown && <RolesOf user={shown} onClose={() => setRanked(null)} again={asked.again} />}
    </>
  );
}

const rankOf = ({ tenant, role }: User["roles"][number]): string =>
  tenant ? `${role} in ${tenant}` : role;

function UserFields({ of }: { of: User | null }) {
  return (
    <>
      {of === null && <Field name="name" label="Name" isNeeded />}
      <Field
        name="password"
        label="Password"
        type="password"
        hint={of === null ? "Without one they cannot log in." : "Left empty, it stays as it is."}
      />
      <label>
        Claims
        <textarea name="claims" rows={3} spellcheck={false}>
          {of === null ? "{}" : JSON.stringify(of.claims, null, 2)}
        </textarea>
        <small>JSON that rules can ask: {'{"teams": [1, 2]}'}.</small>
      </label>
      <Check name="is_active" label="May log in" isOn={of?.is_active ?? true} />
    </>
  );
}

const GLOBAL_ROLES = ["console:read", "console:write"];

function RolesOf({ user, onClose, again }: { user: User; onClose: () => void; again: () => void }) {
  const roles = useAsk<{ items: readonly Role[] }>("roles", { limit: 200 });
  const tenants = useAsk<{ items: readonly Tenant[] }>("tenants", { limit: 200 });
  const deed = useDeed();
  const known = [...(roles.answer?.items ?? []).map(({ name }) => name), ...GLOBAL_ROLES];
  const done = (work: Promise<unknown>) =>
    deed.run(async () => {
      await work;
      again();
    });
  return (
    <Dialog title={`Roles of ${user.name}`} onClose={onClose}>
      <ul class="plain">
        {user.roles.map((rank) => (
          <li class="row">
            {rankOf(rank)}
            <DoButton
              class="small secondary"
              isBusy={deed.isBusy}
              label={`Take away ${rankOf(rank)}`}
              onClick={() => done(remove("users/roles", { user: user.name, ...rank }))}
            >
              Take away
            </DoButton>
          </li>
        ))}
        {user.roles.length === 0 && <li class="soft">none</li>}
      </ul>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget as HTMLFormElement);
          const [role, tenant] = [textIn(form, "role"), textIn(form, "tenant")];
          void done(tell("POST", "users/roles", { user: user.name, tenant, role }));
        }}
      >
        <label>
          Role
          <input name="role" list="known-roles" required autocomplete="off" />
          <datalist id="known-roles">
            {[...new Set(known)].map((name) => (
              <option value={name} />
            ))}
          </datalist>
        </label>
        <Choice
          name="tenant"
          label="In"
          of={[
            ["", "no tenant"],
            ...(tenants.answer?.items ?? []).map(({ name }) => [name, name] as const),
          ]}
        />
        {deed.problem && <Trouble problem={deed.problem} />}
        <footer>
          <button type="submit" aria-busy={deed.isBusy} disabled={deed.isBusy}>
            Give
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function objectOf(given: string): unknown {
  if (given === "") return {};
  try {
    return JSON.parse(given);
  } catch {
    throw new Problem("bad-request", "The claims are no JSON: look at their commas and quotes.");
  }
}
