/** A change of a row, field by field, with the ways to undo it. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { linkTo } from "../address.js";
import { ask, tell } from "../api.js";
import { useDeed } from "../asking.js";
import { Trouble } from "../parts/answers.js";
import { DoButton, FormDialog } from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { count, keyOf, Tag, textOf, Value, When } from "../parts/words.js";

export interface ChangeItem {
  readonly id: number;
  readonly seq: number;
  readonly at_ms: number;
  readonly table: string;
  readonly key: readonly unknown[];
  readonly old_key: readonly unknown[] | null;
  readonly op: "insert" | "update" | "delete";
  readonly actor: string | null;
  readonly replica: string | null;
  readonly replica_name: string | null;
  readonly is_erased: boolean;
  readonly is_rewrite?: boolean;
  readonly fields: readonly {
    readonly column: string;
    readonly old: unknown;
    readonly new: unknown;
    readonly is_changed: boolean;
  }[];
}

const WORDS = {
  insert: ["created", "good"],
  update: ["changed", "plain"],
  delete: ["deleted", "bad"],
} as const;

/** Where a row's history is. */
export const rowLink = (table: string, key: readonly unknown[]): string =>
  linkTo(["row"], { table, key: JSON.stringify(key) });

export function ChangeCard({ of, isAlone = false }: { of: ChangeItem; isAlone?: boolean }) {
  const [isAll, setIsAll] = useState(false);
  const [word, kind] = WORDS[of.op] ?? ["changed", "plain"];
  const shown = isAll
    ? of.fields
    : of.fields.filter((field) => field.is_changed || of.op !== "update");
  const rest = of.fields.length - shown.length;
  return (
    <article class="change">
      <header>
        <Tag is={kind}>{word}</Tag>{" "}
        <a href={rowLink(of.table, of.key)}>
          {of.table} {keyOf(of.key)}
        </a>
        {of.old_key && <span class="soft"> before: {keyOf(of.old_key)}</span>}
        <span class="soft">
          {" by "}
          {of.actor ?? "the backend"}
          {of.replica && (
            <>
              {" on "}
              <a href={linkTo(["replicas", of.replica])}>{of.replica_name || of.replica}</a>
            </>
          )}
          {!isAlone && (
            <>
              {", "}
              <When ms={of.at_ms} />
              {", "}
              <a href={linkTo(["audit", String(of.seq)])}>commit {of.seq}</a>
            </>
          )}
        </span>
        <Restore of={of} />
      </header>
      {of.is_erased ? (
        <p class="soft">Its values were erased.</p>
      ) : (
        <DiffTable
          names={["Before", "After"]}
          of={shown.map((field) => ({
            ...field,
            old: of.op === "insert" ? NOTHING : <Value of={field.old} />,
            new: of.op === "delete" ? NOTHING : <Value of={field.new} />,
          }))}
        />
      )}
      {rest > 0 && (
        <button type="button" class="link" onClick={() => setIsAll(true)}>
          {count(rest)} more that stayed
        </button>
      )}
    </article>
  );
}

interface Restoring {
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly etag: string | null;
}

function Restore({ of }: { of: ChangeItem }) {
  const [plan, setPlan] = useState<Restoring | null>(null);
  const deed = useDeed();
  const about = { change: of.id, table: of.table, key: of.old_key ?? of.key };
  const look = () =>
    deed.run(async () =>
      setPlan(await tell<Restoring>("POST", "restore", { ...about, dry_run: true })),
    );
  return (
    <span class="aside">
      <DoButton
        class="small secondary"
        isBusy={deed.isBusy}
        whyNot={of.is_erased ? "Erased values cannot be put back." : null}
        onClick={look}
        label={`Put back ${of.table} ${keyOf(of.key)} as it was before`}
      >
        Put back
      </DoButton>
      {deed.problem && <Trouble problem={deed.problem} />}
      {plan && (
        <FormDialog
          title="Put this row back"
          action="Put back"
          onClose={() => setPlan(null)}
          save={async () => {
            const done = await tell<{ commit: number | null }>(
              "POST",
              "restore",
              { ...about, dry_run: false },
              plan.etag,
            );
            say(
              done.commit === null
                ? "It is like that already."
                : `Put back, in commit ${done.commit}.`,
            );
          }}
        >
          <p>
            {of.table} {keyOf(of.key)} will be as it was before this change. That is an ordinary
            change, which every device gets.
          </p>
          <Difference before={plan.before} after={plan.after} />
        </FormDialog>
      )}
    </span>
  );
}

/** Two states of a row. */
export function Difference({
  before,
  after,
}: {
  before: Readonly<Record<string, unknown>> | null;
  after: Readonly<Record<string, unknown>> | null;
}) {
  const columns = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const differs = (name: string) =>
    textOf(before?.[name] ?? null) !== textOf(after?.[name] ?? null);
  const side = (row: typeof before, name: string) =>
    row ? <Value of={row[name]} /> : <span class="soft">no row</span>;
  return (
    <DiffTable
      names={["Now", "Then"]}
      of={columns.map((column) => ({
        column,
        is_changed: differs(column),
        old: side(before, column),
        new: side(after, column),
      }))}
    />
  );
}

const NOTHING = <span class="soft">–</span>;

function DiffTable({
  names,
  of,
}: {
  names: readonly [string, string];
  of: readonly {
    readonly column: string;
    readonly is_changed: boolean;
    readonly old: ComponentChildren;
    readonly new: ComponentChildren;
  }[];
}) {
  return (
    <table class="diff">
      <thead>
        <tr>
          <th scope="col">Field</th>
          <th scope="col">{names[0]}</th>
          <th scope="col">{names[1]}</th>
        </tr>
      </thead>
      <tbody>
        {of.map((field) => (
          <tr class={field.is_changed ? "changed" : ""}>
            <th scope="row">{field.column}</th>
            <td>{field.old}</td>
            <td>{field.new}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface Undoing {
  readonly undone: number;
  readonly commit: number | null;
  readonly rows: number;
  readonly conflicts: readonly {
    readonly table: string;
    readonly key: readonly unknown[];
    readonly code: string;
    readonly column?: string;
  }[];
}

/** A button that undoes a commit, once its preview was looked at. */
export function UndoCommit({ seq }: { seq: number }) {
  const [plan, setPlan] = useState<Undoing | null>(null);
  const deed = useDeed();
  const path = `commits/${seq}/undo`;
  const look = () =>
    deed.run(async () => setPlan(await tell<Undoing>("POST", path, { dry_run: true })));
  return (
    <>
      <DoButton class="small danger" isBusy={deed.isBusy} onClick={look}>
        Undo this commit…
      </DoButton>
      {deed.problem && <Trouble problem={deed.problem} />}
      {plan && (
        <FormDialog
          title={`Undo commit ${seq}`}
          action="Undo it"
          isDanger
          onClose={() => setPlan(null)}
          save={async () => {
            const done = await tell<Undoing>("POST", path, { dry_run: false });
            say(
              done.commit === null
                ? "There was nothing to undo."
                : `Undone, in commit ${done.commit}.`,
            );
          }}
        >
          <p>
            {plan.rows === 1 ? "1 row" : `${count(plan.rows)} rows`} will be as they were before.
            That is an ordinary commit, which every device gets.
          </p>
          {plan.conflicts.length > 0 && (
            <>
              <p>These were changed again since, and stay as they are:</p>
              <ul class="inside">
                {plan.conflicts.slice(0, 20).map((conflict) => (
                  <li>
                    <a
                      href={rowLink(conflict.table, conflict.key)}
                      target="_blank"
                      rel="noreferrer"
                    >
                      {conflict.table} {keyOf(conflict.key)}
                    </a>
                    {conflict.column && `, ${conflict.column}`}
                  </li>
                ))}
              </ul>
            </>
          )}
        </FormDialog>
      )}
    </>
  );
}

/** Fetch a row as it is now, with its etag. */
export function rowNow(table: string, key: readonly unknown[]) {
  return ask<{ row: Record<string, unknown> | null; etag: string }>("row", {
    table,
    key: JSON.stringify(key),
  });
}
