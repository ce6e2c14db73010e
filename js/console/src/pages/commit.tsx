/** One commit: all its changes, and the way to undo it. */

import { linkTo } from "../address.js";
import { useAsk, useList } from "../asking.js";
import { Answer, Facts, Listing, Page } from "../parts/answers.js";
import { At } from "../parts/words.js";
import { type CommitItem, changesOf } from "./audit.js";
import { ChangeCard, type ChangeItem, UndoCommit } from "./changes.js";

export function Commit({ id }: { id: string }) {
  const path = `commits/${encodeURIComponent(id)}`;
  const asked = useAsk<CommitItem>(path);
  const changes = useList<ChangeItem>(`${path}/changes`);
  return (
    <Page title={`Commit ${id}`} actions={asked.answer && <UndoCommit seq={asked.answer.seq} />}>
      <Answer of={asked}>
        {(commit) => (
          <Facts
            of={[
              ["When", <At ms={commit.at_ms} />],
              [
                "Who",
                commit.actors.map((actor) => actor ?? "the backend").join(", ") || "the backend",
              ],
              [
                "Where",
                commit.replicas.length === 0
                  ? "at the hub"
                  : commit.replicas.map((one) => (
                      <>
                        <a href={linkTo(["replicas", one.id])}>{one.name || one.id}</a>{" "}
                      </>
                    )),
              ],
              ["Changes", changesOf(commit)],
            ]}
          />
        )}
      </Answer>
      <Listing of={changes} more="More changes" empty={<p>Its changes are not in the log.</p>}>
        {(items) => items.map((change) => <ChangeCard of={change} isAlone key={change.id} />)}
      </Listing>
    </Page>
  );
}
