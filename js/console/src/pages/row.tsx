/** One row: what it is now, and everything that happened to it. */

import { linkTo, useAddress } from "../address.js";
import { useAsk, useList } from "../asking.js";
import { Answer, Empty, Facts, Listing, Page } from "../parts/answers.js";
import { keyOf, Value } from "../parts/words.js";
import { ChangeCard, type ChangeItem } from "./changes.js";

export function Row() {
  const { query } = useAddress();
  const table = query.get("table") ?? "";
  const key = query.get("key") ?? "[]";
  const asked = useAsk<{ row: Record<string, unknown> | null }>("row", { table, key }, ["commits"]);
  const history = useList<ChangeItem>("history", { table, key }, ["commits"]);
  return (
    <Page
      title={`${table} ${keyOf(keyIn(key))}`}
      lead={<a href={linkTo(["tables", table])}>Its table</a>}
      actions={
        <a class="button small secondary" href={linkTo(["view-as"], { table, key })}>
          Who may see it?
        </a>
      }
    >
      <Answer of={asked}>
        {({ row }) =>
          row === null ? (
            <Empty>
              <p>There is no such row now.</p>
            </Empty>
          ) : (
            <Facts of={Object.entries(row).map(([name, value]) => [name, <Value of={value} />])} />
          )
        }
      </Answer>
      <h2>History</h2>
      <Listing
        of={history}
        more="Look further back"
        empty={
          <p>The log has nothing of this row: it is older than the log, or was never changed.</p>
        }
      >
        {(changes) => changes.map((change) => <ChangeCard of={change} key={change.id} />)}
      </Listing>
    </Page>
  );
}

export function keyIn(text: string): unknown[] {
  try {
    const key: unknown = JSON.parse(text);
    return Array.isArray(key) ? key : [key];
  } catch {
    return [text];
  }
}
