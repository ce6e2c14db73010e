/** Discovery: which tables of the database are tracked, and why the others are not. */

import { linkTo } from "../address.js";
import { tell } from "../api.js";
import { useAsk } from "../asking.js";
import { Answer, Cards, Page, Table } from "../parts/answers.js";
import { AskingButton } from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { count } from "../parts/words.js";

interface DiscoveryAnswer {
  readonly tracked: readonly string[];
  readonly left_out: readonly {
    readonly name: string;
    readonly why: string | null;
    readonly can_track: boolean;
  }[];
  readonly can_edit: boolean;
  readonly why_not: string | null;
  readonly tracks_newcomers: boolean;
}

export function Discovery() {
  const asked = useAsk<DiscoveryAnswer>("discovery", {}, ["tables", "settings"]);
  return (
    <Page
      title="Discovery"
      lead="Which tables of the database devices may have, and why the others not."
    >
      <Answer of={asked}>{(answer) => <Shown of={answer} again={asked.again} />}</Answer>
    </Page>
  );
}

function Shown({ of, again }: { of: DiscoveryAnswer; again: () => void }) {
  const whyNot = of.can_edit ? null : (of.why_not ?? "The backend's code says what is tracked.");
  const set = async (table: string, track: boolean) => {
    await tell("POST", "discovery", { table, track });
    say(track ? `${table} is tracked from now on.` : `${table} is tracked no longer.`);
    again();
  };
  return (
    <>
      {whyNot !== null && <p class="banner">{whyNot}</p>}
      <Cards
        of={[
          ["Tracked", count(of.tracked.length), "tables"],
          ["Left out", count(of.left_out.length)],
          [
            "New tables are",
            of.tracks_newcomers ? "tracked by themselves" : "left out until they are named",
          ],
        ]}
      />
      <h2>Left out</h2>
      <Table
        empty={<p>Every table of the database is tracked.</p>}
        caption="Tables that are not tracked"
        items={of.left_out}
        columns={[
          { name: "Table", show: (one) => one.name },
          {
            name: "Why",
            show: (one) =>
              one.why ?? (of.tracks_newcomers ? "it was left out" : "the backend does not name it"),
          },
          {
            name: "",
            show: (one) =>
              one.can_track && (
                <AskingButton
                  title={`Track ${one.name}?`}
                  text="Its rows can travel to devices then, as rules and permissions allow."
                  label={`Track ${one.name}`}
                  isDanger={false}
                  whyNot={whyNot}
                  deed={() => set(one.name, true)}
                >
                  Track
                </AskingButton>
              ),
          },
        ]}
      />
      <h2>Tracked</h2>
      <Table
        empty={<p>Nothing is tracked yet.</p>}
        caption="Tracked tables"
        items={of.tracked}
        columns={[
          { name: "Table", show: (name) => <a href={linkTo(["tables", name])}>{name}</a> },
          {
            name: "",
            show: (name) => (
              <AskingButton
                title={`Track ${name} no longer?`}
                text="Devices lose its rows with their next sync; the hub keeps them. This lasts until the hub starts again: its code, or the command that starts it, says what is tracked then."
                label={`Leave out ${name}`}
                whyNot={whyNot}
                deed={() => set(name, false)}
              >
                Leave out
              </AskingButton>
            ),
          },
        ]}
      />
    </>
  );
}
