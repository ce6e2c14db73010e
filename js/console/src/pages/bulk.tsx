/** Many permissions at once: what is to be set where, how many rows that gives or takes, and then. */

import { useEffect, useState } from "preact/hooks";
import type { Problem } from "../api.js";
import { asProblem } from "../asking.js";
import { Table, Trouble } from "../parts/answers.js";
import { FormDialog } from "../parts/forms.js";
import { count } from "../parts/words.js";
import {
  type Cell,
  FLAGS,
  type Flag,
  type Matrix,
  NONE,
  type PreviewItem,
  preview,
  putCells,
} from "./matrix.js";
import { wordsOf } from "./permissions.js";

export function Bulk({
  of,
  tables,
  roles,
  cellOf,
  onClose,
  onDone,
}: {
  of: Matrix;
  tables: readonly string[];
  roles: readonly string[];
  cellOf: (role: string, table: string) => Cell;
  onClose: () => void;
  onDone: (was: readonly Cell[], now: readonly Cell[], wasOpen: boolean) => void;
}) {
  const [role, setRole] = useState(roles[0] ?? "");
  const [table, setTable] = useState("");
  const [what, setWhat] = useState("template:read_only");
  const [found, setFound] = useState<readonly PreviewItem[] | null>(null);
  const [closing, setClosing] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const wished = (table === "" ? tables : [table]).flatMap((name) =>
    (role === "" ? roles : [role]).map((of_) => cellOf(of_, name)),
  );
  const cells = wished.map((cell) => ({ ...cell, flags: flagsOf(of, cell, what) }));
  const changed = cells.filter((cell, index) => differs(cell.flags, wished[index]!.flags));
  const asked = JSON.stringify([role, table, what]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `asked` stands for all of it
  useEffect(() => {
    let isOver = false;
    setFound(null);
    setClosing(null);
    setProblem(null);
    if (changed.length > 0) {
      preview(of.tenant, changed).then(
        (answer) => {
          if (isOver) return;
          setFound(answer.items);
          setClosing(answer.closing?.text ?? null);
        },
        (error) => !isOver && setProblem(asProblem(error)),
      );
    }
    return () => {
      isOver = true;
    };
  }, [asked]);
  return (
    <FormDialog
      title="Set many permissions"
      action={`Set ${count(changed.length)}`}
      onClose={onClose}
      save={async () => {
        if (changed.length === 0) return;
        const done = await putCells(of.tenant, changed);
        onDone(done.was, done.cells, done.was_open);
      }}
    >
      <label>
        Role
        <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
          {roles.map((name) => (
            <option value={name}>{name}</option>
          ))}
          <option value="">all {count(roles.length)} that are shown</option>
        </select>
      </label>
      <label>
        Table
        <select value={table} onChange={(event) => setTable(event.currentTarget.value)}>
          <option value="">all {count(tables.length)} that are shown</option>
          {tables.map((name) => (
            <option value={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        What
        <select value={what} onChange={(event) => setWhat(event.currentTarget.value)}>
          <optgroup label="As in a template">
            {Object.keys(of.templates).map((name) => (
              <option value={`template:${name}`}>{name.replaceAll("_", " ")}</option>
            ))}
          </optgroup>
          <optgroup label="Give">
            {FLAGS.map((flag) => (
              <option value={`give:${flag}`}>give {flag}</option>
            ))}
          </optgroup>
          <optgroup label="Take">
            {FLAGS.map((flag) => (
              <option value={`take:${flag}`}>take {flag}</option>
            ))}
          </optgroup>
          <option value="all">select all</option>
          <option value="none">deselect all</option>
        </select>
      </label>
      <div class="preview" role="status">
        {changed.length === 0 && <p>All of it is so already.</p>}
        {changed.length > 0 && found === null && problem === null && (
          <p aria-busy="true">Counting rows…</p>
        )}
        {problem && <Trouble problem={problem} />}
        {closing && <p class="banner">{closing}</p>}
        {found && (
          <Table
            caption="Rows that appear and vanish"
            items={found}
            columns={[
              { name: "Role", show: (one) => one.role },
              { name: "Table", show: (one) => one.table },
              { name: "Rows", show: (one) => wordsOf(one) },
            ]}
          />
        )}
        {found && changed.length > found.length && (
          <p class="soft">
            The first {found.length} of {count(changed.length)}.
          </p>
        )}
      </div>
    </FormDialog>
  );
}

function flagsOf(of: Matrix, cell: Cell, what: string) {
  const [verb, name] = what.split(":") as [string, string];
  const now = cell.flags ?? NONE;
  if (verb === "template") return of.templates[name] ?? now;
  if (verb === "all" || verb === "none") {
    return Object.fromEntries(FLAGS.map((flag) => [flag, verb === "all"])) as Record<Flag, boolean>;
  }
  return { ...now, [name]: verb === "give" };
}

function differs(a: Cell["flags"], b: Cell["flags"]): boolean {
  return FLAGS.some((flag) => (a?.[flag] ?? false) !== (b?.[flag] ?? false));
}
