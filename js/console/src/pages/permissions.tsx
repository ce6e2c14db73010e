/** Permissions: who may do what with which table, cell by cell or many at once. */

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { goAsking, useAddress } from "../address.js";
import type { Problem } from "../api.js";
import { asProblem, useAsk } from "../asking.js";
import { Answer, Empty, Page, Trouble } from "../parts/answers.js";
import { DoButton, Filters, TextFilter } from "../parts/forms.js";
import { say } from "../parts/notes.js";
import { count } from "../parts/words.js";
import { useWhyNot } from "../session.js";
import { Bulk } from "./bulk.js";
import { CellFilters } from "./filters.js";
import { Grid } from "./grid.js";
import {
  backTo,
  type Cell,
  FLAG_WORDS,
  FLAGS,
  type Flag,
  type Matrix,
  NONE,
  nameOf,
  openUp,
  preview,
  putCell,
  putCells,
} from "./matrix.js";

const NEW_MS = 4_000;
const POINTING_MS = 400;

export function Permissions() {
  const { query } = useAddress();
  const tenant = query.get("tenant") ?? "";
  const tenants = useAsk<{ items: readonly { name: string; title?: string }[] }>(
    "tenants",
    { limit: 200 },
    ["directory"],
  );
  const asked = useAsk<Matrix>("permissions", { tenant }, ["permissions", "directory", "tables"]);
  return (
    <Page
      title="Permissions"
      lead="What the members of each role may do with each table. A click is saved at once and can be undone; what somebody else changes shows here by itself."
    >
      <Filters>
        <label>
          Tenant
          <select
            value={tenant}
            onChange={(event) => goAsking({ tenant: event.currentTarget.value || null })}
          >
            <option value="">outside of any tenant</option>
            {(tenants.answer?.items ?? []).map(({ name }) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
        <TextFilter name="table" label="Tables" />
        <TextFilter name="role" label="Roles" />
      </Filters>
      <Answer of={asked}>{(matrix) => <Shown of={matrix} again={asked.again} />}</Answer>
    </Page>
  );
}

function Shown({ of, again }: { of: Matrix; again: () => void }) {
  const { query } = useAddress();
  const known = useCells(of);
  const [isBulk, setIsBulk] = useState(false);
  const [hint, point] = usePreview(of.tenant, known.cellOf);
  const [problem, setProblem] = useState<Problem | null>(null);
  const mayNot =
    useWhyNot() ?? (of.can_edit ? null : (of.why_not ?? "Permissions are kept elsewhere."));
  const has = (name: string, asked: string | null) =>
    !asked || name.toLowerCase().includes(asked.toLowerCase());
  const tables = of.tables.filter((name) => has(name, query.get("table")));
  const roles = of.roles.filter(({ name }) => has(name, query.get("role")));
  if (of.roles.length === 0 || of.tables.length === 0) {
    return (
      <Empty>
        <p>
          {of.tables.length === 0
            ? "No table is tracked yet: the backend calls hub.track."
            : "There are no roles yet: make some, or take the usual ones."}
        </p>
        {of.tables.length > 0 && <a href="people?tab=roles">Roles</a>}
      </Empty>
    );
  }
  const change = async (role: string, table: string, flag: Flag, isOn: boolean) => {
    const cell = known.cellOf(role, table);
    const flags = { ...(cell.flags ?? NONE), [flag]: isOn };
    setProblem(null);
    known.put({ ...cell, flags });
    try {
      const done = await putCell(of.tenant, { role, table, flags }, cell.etag);
      known.put(done.cell);
      say(`${role} may ${isOn ? "" : "not "}${FLAG_WORDS[flag][1]} ${table}.`, async () => {
        const back = await putCell(
          of.tenant,
          { role, table, flags: done.was.flags },
          done.cell.etag,
        );
        known.put(back.cell);
        if (done.was_open) await openUp();
      });
    } catch (error) {
      const found = asProblem(error);
      known.put(cell);
      const now = found.body.cells as readonly Cell[] | undefined;
      for (const other of now ?? []) known.put(other, true);
      setProblem(found);
      if (!now) again();
    }
  };
  return (
    <>
      {mayNot !== null && <p class="banner">{mayNot}</p>}
      {of.can_open && (
        <p class="banner">
          The last permission was taken away: all tables are closed to everybody.{" "}
          <DoButton
            whyNot={mayNot}
            onClick={() => openUp().then(again, (error) => setProblem(asProblem(error)))}
          >
            Open them to every token
          </DoButton>
        </p>
      )}
      <p class="row">
        <DoButton whyNot={of.can_edit ? null : mayNot} onClick={() => setIsBulk(true)}>
          Set many at once…
        </DoButton>
        <span class="legend">
          {FLAGS.map((flag) => (
            <span>
              <kbd>{FLAG_WORDS[flag][0]}</kbd> {flag}
            </span>
          ))}
        </span>
      </p>
      <p class="hint" role="status">
        {hint}
      </p>
      {problem && <Trouble problem={problem} />}
      {tables.length === 0 || roles.length === 0 ? (
        <Empty>
          <p>No table or no role is called so.</p>
        </Empty>
      ) : (
        <Grid
          tables={tables}
          roles={roles}
          known={known}
          mayNot={mayNot}
          change={change}
          point={point}
        />
      )}
      <CellFilters
        tenant={of.tenant}
        roles={of.roles.map(({ name }) => name)}
        tables={of.tables}
        canEdit={of.can_edit}
      />
      {isBulk && (
        <Bulk
          of={of}
          tables={tables}
          roles={roles.map(({ name }) => name)}
          cellOf={known.cellOf}
          onClose={() => setIsBulk(false)}
          onDone={(was, now, wasOpen) => {
            for (const cell of now) known.put(cell);
            say(`${count(now.length)} permissions are set.`, async () => {
              const back = await putCells(of.tenant, backTo(was, now));
              for (const cell of back.cells) known.put(cell);
              if (wasOpen) await openUp();
            });
          }}
        />
      )}
    </>
  );
}

export interface Known {
  cellOf(role: string, table: string): Cell;
  put(cell: Cell, isNew?: boolean): void;
  isNew(role: string, table: string): boolean;
}

/** The cells, with what was done here since they were fetched, and which somebody else changed. */
function useCells(of: Matrix): Known {
  const [own, setOwn] = useState<ReadonlyMap<string, Cell>>(new Map());
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const before = useRef<{ tenant: string; etags: Map<string, string> } | null>(null);
  const mine = useRef(new Set<string>());
  const stored = useMemo(
    () => new Map(of.cells.map((cell) => [nameOf(cell.role, cell.table), cell])),
    [of],
  );
  const note = useCallback((names: readonly string[]) => {
    if (names.length === 0) return;
    setFresh(new Set(names));
    setTimeout(() => setFresh(new Set()), NEW_MS);
  }, []);
  useEffect(() => {
    setOwn(new Map());
    const etags = new Map([...stored].map(([name, cell]) => [name, cell.etag]));
    const last = before.current;
    before.current = { tenant: of.tenant, etags };
    if (last === null || last.tenant !== of.tenant) return;
    const names = [...new Set([...etags.keys(), ...last.etags.keys()])];
    const others = names.filter(
      (name) => etags.get(name) !== last.etags.get(name) && !mine.current.has(name),
    );
    mine.current.clear();
    note(others);
  }, [of, stored, note]);
  return {
    cellOf: (role, table) => {
      const name = nameOf(role, table);
      return own.get(name) ?? stored.get(name) ?? { role, table, flags: null, etag: "-" };
    },
    put: (cell, isNew = false) => {
      const name = nameOf(cell.role, cell.table);
      setOwn((known) => new Map(known).set(name, cell));
      if (isNew) note([name]);
      else mine.current.add(name);
    },
    isNew: (role, table) => fresh.has(nameOf(role, table)),
  };
}

/** What the change that somebody points at would give or take. */
function usePreview(tenant: string, cellOf: Known["cellOf"]) {
  const [hint, setHint] = useState("Point at a letter to see how many rows it gives or takes.");
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const turn = useRef(0);
  const point = (role: string, table: string, flag: Flag) => {
    clearTimeout(timer.current);
    turn.current += 1;
    const mine = turn.current;
    timer.current = setTimeout(async () => {
      const cell = cellOf(role, table);
      const isOn = cell.flags?.[flag] ?? false;
      const flags = { ...(cell.flags ?? NONE), [flag]: !isOn };
      const what = `${isOn ? "Without" : "With"} “${flag}”, ${role} in ${table}`;
      try {
        const { items, closing } = await preview(tenant, [{ role, table, flags }]);
        const [found] = items;
        if (mine !== turn.current || !found) return;
        setHint(`${what}: ${wordsOf(found)}${closing ? ` ${closing.text}` : ""}`);
      } catch (error) {
        if (mine === turn.current) setHint(`${what}: ${(error as Error).message}`);
      }
    }, POINTING_MS);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return [hint, point] as const;
}

export function wordsOf({
  appear,
  vanish,
  then,
  because,
}: {
  appear: number | null;
  vanish: number | null;
  then: number | null;
  because: string | null;
}): string {
  if (because) return because;
  const parts = [
    ...(appear ? [`${count(appear)} ${appear === 1 ? "row appears" : "rows appear"}`] : []),
    ...(vanish ? [`${count(vanish)} ${vanish === 1 ? "row vanishes" : "rows vanish"}`] : []),
  ];
  const rest = then === null ? "" : ` ${count(then)} can be read then.`;
  return `${parts.join(", ") || "no row appears or vanishes"}.${rest}`;
}
