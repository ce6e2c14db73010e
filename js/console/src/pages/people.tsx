/** Tenants, users, roles, tokens and log-ins of the hub's directory. */

import { useState } from "preact/hooks";
import { linkTo, useAddress } from "../address.js";
import { Problem, tell, urlOf } from "../api.js";
import { useAsk, useDeed, useList } from "../asking.js";
import { Page, Rows, Trouble } from "../parts/answers.js";
import {
  AskingButton,
  Dialog,
  DoButton,
  Field,
  Filters,
  FormDialog,
  TextFilter,
} from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { Tabs } from "../parts/tabs.js";
import { count, Tag, Value, When } from "../parts/words.js";
import { useSession } from "../session.js";

interface User {
  readonly name: string;
  readonly is_active: boolean;
  readonly has_password: boolean;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly created_ms: number;
  readonly roles: readonly { readonly tenant: string; readonly role: string }[];
  readonly log_ins: number;
  readonly replicas: number;
}

interface Tenant {
  readonly name: string;
  readonly title: string | null;
  readonly value: unknown;
  readonly is_active: boolean;
  readonly created_ms: number;
  readonly users: number;
  readonly replicas: number;
}

interface Role {
  readonly name: string;
  readonly template: string | null;
  readonly created_ms: number;
  readonly users: number;
}

interface Token {
  readonly id: string;
  readonly label: string;
  readonly user: string;
  readonly tenant: string | null;
  readonly roles: readonly string[];
  readonly created_ms: number;
}

interface LogIn {
  readonly id: string;
  readonly user: string;
  readonly tenant: string | null;
  readonly device: string | null;
  readonly created_ms: number;
  readonly used_ms: number;
  readonly expires_ms: number;
}

const TOPICS = ["directory"];

export function People() {
  const { query } = useAddress();
  const tab = query.get("tab") ?? "users";
  const { directory } = useSession();
  return (
    <Page title="Tenants & users">
      {directory === "host" && (
        <p class="banner">
          Users, organizations and groups are the application's own: change them in its admin.
        </p>
      )}
      <Tabs
        of={[
          ["users", "Users"],
          ["tenants", "Tenants"],
          ["roles", "Roles"],
          ["tokens", "Tokens"],
          ["log-ins", "Log-ins"],
        ]}
        first="users"
      />
      {tab === "tenants" ? (
        <Tenants />
      ) : tab === "roles" ? (
        <Roles />
      ) : tab === "tokens" ? (
        <Tokens />
      ) : tab === "log-ins" ? (
        <LogIns />
      ) : (
        <Users />
      )}
    </Page>
  );
}

/** Why nothing can be changed here, if the directory is the host's. */
function useOwn(): string | null {
  const { directory } = useSession();
  return directory === "own" ? null : "These are the application's own: change them in its admin.";
}

const text = (form: FormData, name: string): string => String(form.get(name) ?? "").trim();
const remove = (path: string, params: Record<string, string>): Promise<void> =>
  tell("DELETE", urlOf(path, params).slice("api/".length));

function Users() {
  const { query } = useAddress();
  const asked = useList<User>("users", { q: query.get("q") }, TOPICS);
  const [edited, setEdited] = useState<User | "new" | null>(null);
  const [ranked, setRanked] = useState<string | null>(null);
  const whyNot = useOwn();
  const save = async (form: FormData) => {
    const password = String(form.get("password") ?? "");
    const name = edited === "new" ? text(form, "name") : (edited as User).name;
    await tell("PUT", "users", {
      name,
      claims: objectOf(text(form, "claims")),
      is_active: form.get("is_active") === "on",
      ...(password && { password }),
    });
    say(`${name} is saved.`);
    asked.again();
  };
  const shown = asked.items.find(({ name }) => name === ranked);
  return (
    <>
      <Filters>
        <TextFilter name="q" label="Name" />
      </Filters>
      <p class="row">
        <DoButton whyNot={whyNot} onClick={() => setEdited("new")}>
          New user
        </DoButton>
      </p>
      <Rows
        of={asked}
        caption="Users"
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
          {
            name: "Roles",
            show: (one) =>
              one.roles
                .map(({ tenant, role }) => (tenant ? `${role} in ${tenant}` : role))
                .join(", "),
          },
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
          {
            name: "",
            show: (one) => (
              <span class="row">
                <DoButton
                  class="small secondary"
                  whyNot={whyNot}
                  label={`Roles of ${one.name}`}
                  onClick={() => setRanked(one.name)}
                >
                  Roles
                </DoButton>
                <DoButton
                  class="small secondary"
                  whyNot={whyNot}
                  label={`Change ${one.name}`}
                  onClick={() => setEdited(one)}
                >
                  Change
                </DoButton>
                <AskingButton
                  title={`Delete ${one.name}?`}
                  text="Their log-ins end at once. What they wrote stays, and so does its history."
                  label={`Delete ${one.name}`}
                  whyNot={whyNot}
                  deed={async () => {
                    await remove("users", { name: one.name });
                    say(`${one.name} is deleted.`);
                    asked.again();
                  }}
                >
                  Delete
                </AskingButton>
              </span>
            ),
          },
        ]}
        empty={<p>{query.has("q") ? "Nobody is called so." : "There are no users yet."}</p>}
      />
      {edited !== null && (
        <FormDialog
          title={edited === "new" ? "New user" : `Change ${edited.name}`}
          action="Save"
          save={save}
          onClose={() => setEdited(null)}
        >
          {edited === "new" && <Field name="name" label="Name" isNeeded />}
          <Field
            name="password"
            label="Password"
            type="password"
            hint={
              edited === "new"
                ? "Without one they cannot log in."
                : "Left empty, it stays as it is."
            }
          />
          <label>
            Claims
            <textarea name="claims" rows={3} spellcheck={false}>
              {edited === "new" ? "{}" : JSON.stringify(edited.claims, null, 2)}
            </textarea>
            <small>JSON that rules can ask: {'{"teams": [1, 2]}'}.</small>
          </label>
          <label>
            <input
              type="checkbox"
              name="is_active"
              defaultChecked={edited === "new" || edited.is_active}
            />{" "}
            May log in
          </label>
        </FormDialog>
      )}
      {shown && <RolesOf user={shown} onClose={() => setRanked(null)} again={asked.again} />}
    </>
  );
}

function RolesOf({ user, onClose, again }: { user: User; onClose: () => void; again: () => void }) {
  const roles = useAsk<{ items: readonly Role[] }>("roles", { limit: 200 });
  const tenants = useAsk<{ items: readonly Tenant[] }>("tenants", { limit: 200 });
  const deed = useDeed();
  return (
    <Dialog title={`Roles of ${user.name}`} onClose={onClose}>
      <ul class="plain">
        {user.roles.map(({ tenant, role }) => (
          <li class="row">
            {tenant ? `${role} in ${tenant}` : role}
            <DoButton
              class="small secondary"
              isBusy={deed.isBusy}
              label={`Take ${role} away`}
              onClick={() =>
                deed.run(async () => {
                  await remove("users/roles", { user: user.name, tenant, role });
                  again();
                })
              }
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
          void deed.run(async () => {
            await tell("POST", "users/roles", {
              user: user.name,
              tenant: text(form, "tenant"),
              role: text(form, "role"),
            });
            again();
          });
        }}
      >
        <label>
          Role
          <input name="role" list="known-roles" required autocomplete="off" />
          <datalist id="known-roles">
            {[
              ...(roles.answer?.items ?? []).map(({ name }) => name),
              "console:read",
              "console:write",
            ].map((name) => (
              <option value={name} />
            ))}
          </datalist>
        </label>
        <label>
          In
          <select name="tenant">
            <option value="">no tenant</option>
            {(tenants.answer?.items ?? []).map(({ name }) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
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

function Tenants() {
  const asked = useList<Tenant>("tenants", {}, TOPICS);
  const [edited, setEdited] = useState<Tenant | "new" | null>(null);
  const whyNot = useOwn();
  const save = async (form: FormData) => {
    const name = edited === "new" ? text(form, "name") : (edited as Tenant).name;
    const value = text(form, "value");
    await tell("PUT", "tenants", {
      name,
      title: text(form, "title"),
      is_active: form.get("is_active") === "on",
      ...(value !== "" && { value: valueIn(value) }),
    });
    say(`${name} is saved.`);
    asked.again();
  };
  return (
    <>
      <p class="row">
        <DoButton whyNot={whyNot} onClick={() => setEdited("new")}>
          New tenant
        </DoButton>
      </p>
      <Rows
        of={asked}
        caption="Tenants"
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
          {
            name: "",
            show: (one) => (
              <span class="row">
                <DoButton
                  class="small secondary"
                  whyNot={whyNot}
                  label={`Change ${one.name}`}
                  onClick={() => setEdited(one)}
                >
                  Change
                </DoButton>
                <AskingButton
                  title={`Delete ${one.name}?`}
                  text="Its members lose their roles in it, and its devices read nothing more. Rows stay."
                  label={`Delete ${one.name}`}
                  whyNot={whyNot}
                  deed={async () => {
                    await remove("tenants", { name: one.name });
                    say(`${one.name} is deleted.`);
                    asked.again();
                  }}
                >
                  Delete
                </AskingButton>
              </span>
            ),
          },
        ]}
        empty={<p>There are no tenants: all rows belong to one house.</p>}
      />
      {edited !== null && (
        <FormDialog
          title={edited === "new" ? "New tenant" : `Change ${edited.name}`}
          action="Save"
          save={save}
          onClose={() => setEdited(null)}
        >
          {edited === "new" && <Field name="name" label="Name" isNeeded />}
          <Field name="title" label="Title" value={edited === "new" ? "" : (edited.title ?? "")} />
          <Field
            name="value"
            label="What rows have in their tenant column"
            value={edited === "new" || edited.value === null ? "" : JSON.stringify(edited.value)}
            hint="A number, or a text in quotes; left empty, the name."
          />
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
    </>
  );
}

function Roles() {
  const asked = useList<Role>("roles", {}, TOPICS);
  const [isNew, setIsNew] = useState(false);
  const deed = useDeed();
  const whyNot = useOwn();
  const templates = ["full_access", "read_write", "read_only", "write_only", "custom"];
  return (
    <>
      <p class="row">
        <DoButton whyNot={whyNot} onClick={() => setIsNew(true)}>
          New role
        </DoButton>
        <DoButton
          class="small secondary"
          whyNot={whyNot}
          isBusy={deed.isBusy}
          onClick={() =>
            deed.run(async () => {
              await tell("POST", "roles/groups");
              say("The usual roles are there.");
              asked.again();
            })
          }
        >
          Add the usual seven
        </DoButton>
      </p>
      {deed.problem && <Trouble problem={deed.problem} />}
      <Rows
        of={asked}
        caption="Roles"
        columns={[
          { name: "Role", show: (one) => one.name },
          { name: "Template", show: (one) => (one.template ?? "").replaceAll("_", " ") },
          { name: "Users", show: (one) => count(one.users), isNumber: true },
          {
            name: "",
            show: (one) => <a href={linkTo(["permissions"], { role: one.name })}>Permissions</a>,
          },
          {
            name: "",
            show: (one) => (
              <AskingButton
                title={`Delete ${one.name}?`}
                text="Its permissions go with it, in every tenant."
                label={`Delete ${one.name}`}
                whyNot={whyNot}
                deed={async () => {
                  await remove("roles", { name: one.name });
                  say(`${one.name} is deleted.`);
                  asked.again();
                }}
              >
                Delete
              </AskingButton>
            ),
          },
        ]}
        empty={<p>There are no roles yet.</p>}
      />
      {isNew && (
        <FormDialog
          title="New role"
          action="Save"
          onClose={() => setIsNew(false)}
          save={async (form) => {
            await tell("PUT", "roles", {
              name: text(form, "name"),
              template: text(form, "template"),
            });
            asked.again();
          }}
        >
          <Field name="name" label="Name" isNeeded />
          <label>
            New permissions of it begin as
            <select name="template">
              {templates.map((name) => (
                <option value={name}>{name.replaceAll("_", " ")}</option>
              ))}
            </select>
          </label>
        </FormDialog>
      )}
    </>
  );
}

function Tokens() {
  const asked = useList<Token>("tokens", {}, TOPICS);
  const [isNew, setIsNew] = useState(false);
  const [made, setMade] = useState<string | null>(null);
  const whyNot = useOwn();
  return (
    <>
      <p class="row">
        <DoButton whyNot={whyNot} onClick={() => setIsNew(true)}>
          New token
        </DoButton>
      </p>
      <Rows
        of={asked}
        caption="Tokens"
        columns={[
          { name: "Label", show: (one) => one.label },
          { name: "User", show: (one) => one.user },
          { name: "Tenant", show: (one) => one.tenant ?? "" },
          { name: "Roles", show: (one) => one.roles.join(", ") },
          { name: "Made", show: (one) => <When ms={one.created_ms} /> },
          {
            name: "",
            show: (one) => (
              <AskingButton
                title="Revoke this token?"
                text={`Whatever uses the token “${one.label || one.id}” of ${one.user} is refused from now on.`}
                label={`Revoke ${one.label || one.id}`}
                whyNot={whyNot}
                deed={async () => {
                  await remove("tokens", { id: one.id });
                  say("The token is revoked.");
                  asked.again();
                }}
              >
                Revoke
              </AskingButton>
            ),
          },
        ]}
        empty={<p>No token was made for good. Log-ins are in a list of their own.</p>}
      />
      {isNew && (
        <FormDialog
          title="New token"
          action="Make it"
          onClose={() => setIsNew(false)}
          save={async (form) => {
            const [tenant, label] = [text(form, "tenant"), text(form, "label")];
            const roles = text(form, "roles")
              .split(",")
              .map((name) => name.trim())
              .filter(Boolean);
            const answer = await tell<{ token: string }>("POST", "tokens", {
              user: text(form, "user"),
              ...(tenant && { tenant }),
              ...(roles.length > 0 && { roles }),
              ...(label && { label }),
            });
            setMade(answer.token);
            asked.again();
          }}
        >
          <Field name="user" label="User" isNeeded />
          <Field name="tenant" label="Tenant" />
          <Field
            name="roles"
            label="Roles"
            hint="With commas between; left empty, those of the user."
          />
          <Field name="label" label="Label" hint="What it is for." />
        </FormDialog>
      )}
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

function LogIns() {
  const { query } = useAddress();
  const asked = useList<LogIn>("log-ins", { user: query.get("user") }, TOPICS);
  const whyNot = useOwn();
  return (
    <>
      <Filters>
        <TextFilter name="user" label="User" />
      </Filters>
      <Rows
        of={asked}
        caption="Log-ins"
        columns={[
          { name: "User", show: (one) => one.user },
          { name: "Tenant", show: (one) => one.tenant ?? "" },
          { name: "Device", show: (one) => one.device ?? "" },
          { name: "Since", show: (one) => <When ms={one.created_ms} /> },
          { name: "Used", show: (one) => <When ms={one.used_ms} /> },
          { name: "Until", show: (one) => <When ms={one.expires_ms} /> },
          {
            name: "",
            show: (one) => (
              <AskingButton
                title={`Log ${one.user} out?`}
                text={`${one.device || "The device"} must log in again.`}
                whyNot={whyNot}
                deed={async () => {
                  await remove("log-ins", { id: one.id });
                  asked.again();
                }}
              >
                Log out
              </AskingButton>
            ),
          },
        ]}
        empty={
          <p>
            {query.has("user")
              ? "They are logged in nowhere."
              : "Nobody is logged in with a password."}
          </p>
        }
      />
    </>
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

function valueIn(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}
