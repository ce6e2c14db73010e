/** View as…: what somebody sees, what they may do, and why. */

import { useEffect, useState } from "preact/hooks";
import { goAsking, linkTo, useAddress } from "../address.js";
import type { Problem } from "../api.js";
import { tell } from "../api.js";
import { asProblem, useAsk, useDeed } from "../asking.js";
import { Answer, Empty, Facts, Page, Table, Trouble, Waiting } from "../parts/answers.js";
import { count, keyOf, Tag, Value } from "../parts/words.js";
import { rowLink } from "./changes.js";
import { keyIn } from "./row.js";

type Extent = "all" | "some" | "none";

interface TableView {
  readonly table: string;
  readonly reads: Extent;
  readonly inserts: Extent;
  readonly updates: Extent;
  readonly deletes: Extent;
  readonly hidden: readonly string[];
}

interface View {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  readonly next: readonly unknown[] | null;
  readonly count: { readonly count: number; readonly is_exact: boolean };
}

interface Verdict {
  readonly is_allowed: boolean;
  readonly because: string;
  readonly reasons: readonly {
    readonly text: string;
    readonly holds: boolean | null;
    readonly row: unknown;
    readonly user: unknown;
  }[];
}

interface Explained {
  readonly is_there: boolean;
  readonly read: Verdict;
  readonly insert: Verdict;
  readonly update: Verdict;
  readonly delete: Verdict;
  readonly hidden: readonly string[];
  readonly read_only: readonly string[];
  readonly row: Readonly<Record<string, unknown>> | null;
}

export function ViewAs() {
  const { query } = useAddress();
  const who = { user: query.get("user") ?? "", tenant: query.get("tenant") ?? "" };
  const table = query.get("table") ?? "";
  const key = query.get("key");
  const users = useAsk<{ items: readonly { name: string }[] }>("users", { limit: 200 }, [
    "directory",
  ]);
  const tenants = useAsk<{ items: readonly { name: string }[] }>("tenants", { limit: 200 }, [
    "directory",
  ]);
  const tables = useAsk<{ items: readonly { name: string; key: readonly string[] }[] }>(
    "tables",
    { limit: 200 },
    ["tables"],
  );
  return (
    <Page
      title="View as…"
      lead="What somebody would have on their device, what they may do with it, and which rule says so. Nothing is done in their name."
    >
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget as HTMLFormElement);
          const text = (name: string) => String(form.get(name) ?? "").trim();
          const given = text("key");
          goAsking({
            user: text("user"),
            tenant: text("tenant"),
            table: text("table"),
            key: given && JSON.stringify(keyIn(given)),
          });
        }}
      >
        <label>
          User
          <input
            name="user"
            list="users"
            defaultValue={who.user}
            required
            autocomplete="off"
            key={who.user}
          />
          <datalist id="users">
            {(users.answer?.items ?? []).map(({ name }) => (
              <option value={name} />
            ))}
          </datalist>
        </label>
        <label>
          Tenant
          <select name="tenant" value={who.tenant}>
            <option value="">none</option>
            {(tenants.answer?.items ?? []).map(({ name }) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          Table
          <select name="table" value={table}>
            <option value="">all tables</option>
            {(tables.answer?.items ?? []).map(({ name }) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          Row's key
          <input
            name="key"
            defaultValue={key ? keyOf(keyIn(key)) : ""}
            autocomplete="off"
            key={key}
          />
        </label>
        <button type="submit">Look</button>
      </form>
      {who.user === "" ? (
        <Empty>
          <p>Name a user to see the hub as they do.</p>
        </Empty>
      ) : key && table ? (
        <Why who={who} table={table} rowKey={keyIn(key)} />
      ) : table ? (
        <Sees
          who={who}
          table={table}
          keyColumns={tables.answer?.items.find(({ name }) => name === table)?.key ?? []}
        />
      ) : (
        <Has who={who} />
      )}
    </Page>
  );
}

interface Who {
  readonly user: string;
  readonly tenant: string;
}

/** Ask by POST: who is meant is a person's name, which belongs into no log of addresses. */
function useTold<Answer>(path: string, body: object) {
  const [state, setState] = useState<{
    answer: Answer | null;
    problem: Problem | null;
    isBusy: boolean;
  }>({
    answer: null,
    problem: null,
    isBusy: true,
  });
  const [turn, setTurn] = useState(0);
  const asked = JSON.stringify(body);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a turn means: once more
  useEffect(() => {
    let isOver = false;
    setState((before) => ({ ...before, isBusy: true }));
    tell<Answer>("POST", path, JSON.parse(asked)).then(
      (answer) => !isOver && setState({ answer, problem: null, isBusy: false }),
      (error) => !isOver && setState({ answer: null, problem: asProblem(error), isBusy: false }),
    );
    return () => {
      isOver = true;
    };
  }, [path, asked, turn]);
  return { ...state, again: () => setTurn((before) => before + 1) };
}

const yes = (is: boolean) => (is ? <Tag is="good">yes</Tag> : <Tag>no</Tag>);

const EXTENTS = { all: "good", some: "warn", none: "plain" } as const;
const extent = (of: Extent) => (
  <Tag is={EXTENTS[of] ?? "plain"}>{of === "none" ? "no rows" : `${of} rows`}</Tag>
);

function Has({ who }: { who: Who }) {
  const asked = useTold<{ items: readonly TableView[] }>("view/tables", who);
  return (
    <Answer of={asked}>
      {({ items }) => (
        <Table
          caption={`What ${who.user} has`}
          items={items}
          columns={[
            {
              name: "Table",
              show: (one) => (
                <a href={linkTo(["view-as"], { ...who, table: one.table })}>{one.table}</a>
              ),
            },
            { name: "Reads", show: (one) => extent(one.reads) },
            { name: "Creates", show: (one) => extent(one.inserts) },
            { name: "Changes", show: (one) => extent(one.updates) },
            { name: "Deletes", show: (one) => extent(one.deletes) },
            { name: "Hidden columns", show: (one) => one.hidden.join(", ") },
          ]}
        />
      )}
    </Answer>
  );
}

const ROWS_AT_ONCE = 50;

function Sees({
  who,
  table,
  keyColumns,
}: {
  who: Who;
  table: string;
  keyColumns: readonly string[];
}) {
  const asked = useTold<View>("view", { ...who, table, after: null, limit: ROWS_AT_ONCE });
  const [more, setMore] = useState<readonly View[]>([]);
  const deed = useDeed();
  // biome-ignore lint/correctness/useExhaustiveDependencies: another first page has other ones after it
  useEffect(() => setMore([]), [asked.answer]);
  if (asked.answer === null)
    return asked.problem ? <Trouble problem={asked.problem} again={asked.again} /> : <Waiting />;
  const pages = [asked.answer, ...more];
  const last = pages.at(-1)!;
  const { columns } = asked.answer;
  const places = keyColumns.map((name) => columns.indexOf(name));
  const rows = pages.flatMap((page) => page.rows);
  const total = asked.answer.count;
  return (
    <>
      <p>
        {who.user} sees {total.is_exact ? count(total.count) : `more than ${count(total.count)}`}{" "}
        rows of <a href={linkTo(["tables", table])}>{table}</a>.
      </p>
      {rows.length === 0 ? (
        <Empty>
          <p>None. Name a row's key above to see why.</p>
        </Empty>
      ) : (
        <Table
          caption={`Rows of ${table} that ${who.user} sees`}
          items={rows}
          columns={[
            {
              name: "",
              show: (row) =>
                places.length > 0 && !places.includes(-1) ? (
                  <a
                    href={linkTo(["view-as"], {
                      ...who,
                      table,
                      key: JSON.stringify(places.map((place) => row[place])),
                    })}
                  >
                    why
                  </a>
                ) : null,
            },
            ...columns.map((name, place) => ({
              name,
              show: (row: readonly unknown[]) => <Value of={row[place]} />,
            })),
          ]}
        />
      )}
      {deed.problem && <Trouble problem={deed.problem} />}
      {last.next !== null && (
        <button
          type="button"
          class="more secondary"
          aria-busy={deed.isBusy}
          onClick={() =>
            deed.run(async () => {
              const page = await tell<View>("POST", "view", {
                ...who,
                table,
                after: last.next,
                limit: ROWS_AT_ONCE,
              });
              setMore([...more, page]);
            })
          }
        >
          More
        </button>
      )}
    </>
  );
}

const VERBS = [
  ["read", "See it"],
  ["insert", "Create it"],
  ["update", "Change it"],
  ["delete", "Delete it"],
] as const;

function Why({ who, table, rowKey }: { who: Who; table: string; rowKey: readonly unknown[] }) {
  const asked = useTold<Explained>("explain", { ...who, table, key: rowKey });
  return (
    <Answer of={asked}>
      {(found) => (
        <>
          <p>
            May {who.user} …{" "}
            <a href={rowLink(table, rowKey)}>
              {table} {keyOf(rowKey)}
            </a>
            ?{!found.is_there && " There is no such row now."}
          </p>
          {VERBS.map(([verb, name]) => (
            <article class="verdict">
              <header>
                <strong>{name}</strong>{" "}
                {found[verb].is_allowed ? <Tag is="good">yes</Tag> : <Tag is="bad">no</Tag>}
              </header>
              <p>{BECAUSE[found[verb].because] ?? found[verb].because}</p>
              {found[verb].reasons.length > 0 && (
                <Table
                  caption={`Reasons: ${name}`}
                  items={found[verb].reasons}
                  columns={[
                    { name: "Condition", show: (reason) => <code>{reason.text}</code> },
                    {
                      name: "Holds",
                      show: (reason) =>
                        reason.holds === null ? <Tag>unknown</Tag> : yes(reason.holds),
                    },
                    { name: "In the row", show: (reason) => <Value of={reason.row} /> },
                    { name: "Of the user", show: (reason) => <Value of={reason.user} /> },
                  ]}
                />
              )}
            </article>
          ))}
          {(found.hidden.length > 0 || found.read_only.length > 0) && (
            <Facts
              of={[
                ["Hidden columns", found.hidden.join(", ") || "none"],
                ["Columns that they may only read", found.read_only.join(", ") || "none"],
              ]}
            />
          )}
        </>
      )}
    </Answer>
  );
}

const BECAUSE: Readonly<Record<string, string>> = {
  "no-rules": "The hub has no rules: whoever has a token may.",
  closed: "The table has no rules, while others have: it is closed.",
  "no-row": "There is no such row.",
  hidden: "They do not see the row.",
  tenant: "The row's tenant decides.",
  rule: "A rule decides.",
  permission: "The permissions of their roles decide.",
  policy: "Code of the backend decides.",
  everybody: "Everybody may.",
  nobody: "Nobody may.",
};
