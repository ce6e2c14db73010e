/** One conflict: what both began with, what each made of it, and a choice. */

import { useState } from "preact/hooks";
import { tell } from "../api.js";
import { useAsk, useDeed } from "../asking.js";
import { Answer, Empty, Facts, Page, Trouble } from "../parts/answers.js";
import { DoButton } from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { At, keyOf, Value, valueIn, When } from "../parts/words.js";
import { ChangeCard, type ChangeItem, rowLink } from "./changes.js";
import { type ConflictItem, ConflictTag } from "./conflicts.js";

interface ConflictDetail {
  readonly item: ConflictItem;
  readonly column_type: string | null;
  readonly row: Readonly<Record<string, unknown>> | null;
  readonly etag: string;
  readonly history: readonly ChangeItem[];
}

export function Conflict({ id }: { id: string }) {
  const path = `conflicts/${encodeURIComponent(id)}`;
  const asked = useAsk<ConflictDetail>(path, {}, ["conflicts", "commits"]);
  const title = asked.answer
    ? `Conflict: ${asked.answer.item.table} ${keyOf(asked.answer.item.key)}`
    : "Conflict";
  return (
    <Page title={title}>
      <Answer of={asked}>
        {(conflict) => <Shown of={conflict} path={path} again={asked.again} />}
      </Answer>
    </Page>
  );
}

function Shown({
  of: detail,
  path,
  again,
}: {
  of: ConflictDetail;
  path: string;
  again: () => void;
}) {
  const deed = useDeed();
  const of = detail.item;
  const decide = (what: { take: string; value?: unknown }) =>
    deed.run(async () => {
      const done = await tell<{ commit: number | null }>("POST", path, what, detail.etag);
      say(
        done.commit === null
          ? "Decided: the row stays as it is."
          : `Decided, in commit ${done.commit}.`,
      );
      again();
    });
  const now = of.column === null ? detail.row : (detail.row?.[of.column] ?? null);
  return (
    <>
      <Facts
        of={[
          ["State", <ConflictTag of={of.state} />],
          ["Column", of.column ?? "the whole row"],
          ["Policy", of.policy],
          [
            "Whose",
            `${of.principal ?? ""} on ${of.replica_name || of.replica || "a device that is gone"}`,
          ],
          ["When", <At ms={of.at_ms} />],
          [
            "Row",
            <a href={rowLink(of.table, of.key)}>
              {of.table} {keyOf(of.key)}
            </a>,
          ],
          ["The row now", detail.row === null ? "is not there" : <Shape of={now} />],
          ...(of.decided
            ? ([
                [
                  "Decided",
                  <>
                    by {of.decided.by}: {TAKEN[of.decided.value] ?? "another value"},{" "}
                    <When ms={of.decided.at_ms} />
                  </>,
                ],
              ] as const)
            : []),
        ]}
      />
      {of.is_erased ? (
        <Empty>
          <p>The row was erased, and with it what met here.</p>
        </Empty>
      ) : (
        <>
          <section class="three" aria-label="What met">
            <Side
              title="Both began with"
              value={of.base}
              take={() => decide({ take: "base" })}
              isBusy={deed.isBusy}
            />
            <Side
              title="The hub had"
              value={of.hub}
              take={() => decide({ take: "hub" })}
              isBusy={deed.isBusy}
            />
            <Side
              title="The replica wanted"
              value={of.replica_value}
              take={() => decide({ take: "replica" })}
              isBusy={deed.isBusy}
            />
          </section>
          {deed.problem && (
            <>
              <Trouble problem={deed.problem} />
              {deed.problem.status === 412 && (
                <p>What is shown above is what it is now: decide again.</p>
              )}
            </>
          )}
          {of.column !== null && (
            <Typed
              column={of.column}
              type={detail.column_type}
              now={now}
              decide={decide}
              isBusy={deed.isBusy}
            />
          )}
        </>
      )}
      <h2>History of the row</h2>
      {detail.history.map((change) => (
        <ChangeCard of={change} key={change.id} />
      ))}
      {detail.history.length === 0 && (
        <Empty>
          <p>The log has nothing of this row.</p>
        </Empty>
      )}
    </>
  );
}

function Side({
  title,
  value,
  take,
  isBusy,
}: {
  title: string;
  value: unknown;
  take: () => void;
  isBusy: boolean;
}) {
  return (
    <article>
      <h2>{title}</h2>
      <Shape of={value} />
      <footer>
        <DoButton onClick={take} isBusy={isBusy} label={`Take this: ${title}`}>
          Take this
        </DoButton>
      </footer>
    </article>
  );
}

/** A value, or a whole row. */
function Shape({ of }: { of: unknown }) {
  if (of === null || typeof of !== "object" || Array.isArray(of)) return <Value of={of} />;
  return <Facts of={Object.entries(of).map(([name, value]) => [name, <Value of={value} />])} />;
}

/** Columns of these types have values that are no texts. */
const NO_TEXT: ReadonlySet<string> = new Set(["integer", "real", "boolean", "json", "any"]);

function Typed({
  column,
  type,
  now,
  decide,
  isBusy,
}: {
  column: string;
  type: string | null;
  now: unknown;
  decide: (what: { take: string; value: unknown }) => void;
  isBusy: boolean;
}) {
  const isText = typeof now === "string" || !NO_TEXT.has(type ?? "");
  const [text, setText] = useState(
    now === null ? "" : typeof now === "string" ? now : JSON.stringify(now),
  );
  const [isNull, setIsNull] = useState(false);
  const take = () =>
    decide({ take: "value", value: isNull ? null : isText ? text : numberOr(text) });
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        take();
      }}
    >
      <label>
        Or another value of {column}
        <textarea
          rows={2}
          value={text}
          disabled={isNull}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <label>
        <input
          type="checkbox"
          checked={isNull}
          onChange={(event) => setIsNull(event.currentTarget.checked)}
        />{" "}
        no value (null)
      </label>
      <DoButton isBusy={isBusy} onClick={take}>
        Take what is typed
      </DoButton>
    </form>
  );
}

/** What is typed for a column that has no texts. A whole number that JavaScript cannot hold travels
 * as the text that it is. */
function numberOr(text: string): unknown {
  const value = valueIn(text);
  return typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)
    ? text.trim()
    : value;
}

const TAKEN: Readonly<Record<string, string>> = {
  base: "what both began with",
  hub: "what the hub had",
  replica: "what the replica wanted",
  value: "another value",
};
