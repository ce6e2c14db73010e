/**
 * The matrix as a table with a box for each flag.
 *
 * The rule: a page holds the boxes that are in sight and a few around them, however many tables and
 * roles there are; rows and columns have one size then, so that the rest is empty space.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { count, counted } from "../parts/words.js";
import { FLAG_WORDS, FLAGS, type Flag, type Matrix } from "./matrix.js";
import type { Known } from "./permissions.js";

/** Up to so many cells are all there, and as large as what is in them. */
const CELLS_MAX = 400;

/** The sizes of what is in sight only, in pixels; the sheet has them, too. */
const [ROW_PX, COLUMN_PX, NAME_PX] = [58, 190, 180];

/** Rows and columns beside those in sight. */
const SPARE = 3;

/** The first one that is there, and the first one after them that is not. */
type Part = readonly [number, number];

interface Sight {
  readonly rows: Part;
  readonly columns: Part;
}

export function Grid({
  tables,
  roles,
  known,
  mayNot,
  change,
  point,
}: {
  tables: readonly string[];
  roles: Matrix["roles"];
  known: Known;
  mayNot: string | null;
  change: (role: string, table: string, flag: Flag, isOn: boolean) => void;
  point: (role: string, table: string, flag: Flag) => void;
}) {
  const box = useRef<HTMLElement>(null);
  const isLarge = tables.length * roles.length > CELLS_MAX;
  const sight = useSight(box, tables.length, roles.length, isLarge);
  const [[top, bottom], [left, right]] = [sight.rows, sight.columns];
  const onKey = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    const at = (event.target as HTMLElement).dataset.at?.split(" ").map(Number);
    if (!step || !at) return;
    const [row, column] = [at[0]! + step[0], at[1]! + step[1]];
    const next = box.current?.querySelector<HTMLElement>(`[data-at="${row} ${column}"]`);
    if (!next) return;
    event.preventDefault();
    next.focus();
  };
  const scroll = isLarge ? "scroll tall" : "scroll";
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
    <section class={scroll} aria-label="Permissions" tabIndex={0} ref={box}>
      <table
        class={`matrix ${isLarge ? "even" : ""}`}
        aria-rowcount={tables.length + 1}
        aria-colcount={roles.length + 1}
        onKeyDown={onKey}
        {...(isLarge && { style: { width: `${NAME_PX + roles.length * COLUMN_PX}px` } })}
      >
        <caption class="hidden">Permissions of roles for tables</caption>
        {isLarge && (
          <colgroup>
            <col style={{ width: `${NAME_PX}px` }} />
            <col style={{ width: `${left * COLUMN_PX}px` }} />
            <col span={right - left} style={{ width: `${COLUMN_PX}px` }} />
            <col style={{ width: `${(roles.length - right) * COLUMN_PX}px` }} />
          </colgroup>
        )}
        <thead>
          <tr>
            <th scope="col">
              {isLarge
                ? `${counted(tables.length, "table")}, ${counted(roles.length, "role")}`
                : "Table"}
            </th>
            {isLarge && <td aria-hidden="true" />}
            {roles.slice(left, right).map((role, place) => (
              <th scope="col" key={role.name} title={role.name} aria-colindex={left + place + 2}>
                {role.name}
                <small>{role.users === 1 ? "1 user" : `${count(role.users)} users`}</small>
              </th>
            ))}
            {isLarge && <td aria-hidden="true" />}
          </tr>
        </thead>
        <tbody>
          {isLarge && <Gap rows={top} />}
          {tables.slice(top, bottom).map((table, place) => (
            <tr key={table} aria-rowindex={top + place + 2}>
              <th scope="row" title={table}>
                {table}
              </th>
              {isLarge && <td aria-hidden="true" />}
              {roles.slice(left, right).map(({ name: role }, column) => {
                const cell = known.cellOf(role, table);
                return (
                  <td
                    key={role}
                    class={`cell ${known.isNew(role, table) ? "new" : ""}`}
                    aria-colindex={left + column + 2}
                  >
                    {FLAGS.map((flag, index) => (
                      <input
                        type="checkbox"
                        class={`flag ${flag}`}
                        data-at={`${top + place} ${(left + column) * FLAGS.length + index}`}
                        aria-label={`${role} may ${FLAG_WORDS[flag][1]} ${table}`}
                        title={mayNot ?? `${role} may ${FLAG_WORDS[flag][1]} ${table}`}
                        checked={cell.flags?.[flag] ?? false}
                        disabled={mayNot !== null}
                        onChange={(event) => change(role, table, flag, event.currentTarget.checked)}
                        onMouseEnter={() => point(role, table, flag)}
                        onFocus={() => point(role, table, flag)}
                      />
                    ))}
                    {(cell.filters ?? 0) > 0 && (
                      <button
                        type="button"
                        class="link filtered"
                        title="Filters narrow this down"
                        onClick={() => document.getElementById("filters")?.scrollIntoView()}
                      >
                        {counted(cell.filters!, "filter")}
                      </button>
                    )}
                  </td>
                );
              })}
              {isLarge && <td aria-hidden="true" />}
            </tr>
          ))}
          {isLarge && <Gap rows={tables.length - bottom} />}
        </tbody>
      </table>
    </section>
  );
}

/** The space of rows that are not there. */
function Gap({ rows }: { rows: number }) {
  return (
    <tr class="gap" style={{ height: `${rows * ROW_PX}px` }}>
      <td />
    </tr>
  );
}

/** Which rows and columns of so many are to be there; all of them if the matrix is not large. */
function useSight(
  box: { current: HTMLElement | null },
  rows: number,
  columns: number,
  isLarge: boolean,
): Sight {
  const [sight, setSight] = useState<Sight>({ rows: [0, 0], columns: [0, 0] });
  useEffect(() => {
    const place = box.current;
    if (!isLarge || place === null) return;
    const look = () => {
      const now = {
        rows: part(place.scrollTop, place.clientHeight, ROW_PX, rows),
        columns: part(place.scrollLeft, place.clientWidth, COLUMN_PX, columns),
      };
      setSight((before) => (JSON.stringify(before) === JSON.stringify(now) ? before : now));
    };
    look();
    place.addEventListener("scroll", look, { passive: true });
    const resized = new ResizeObserver(look);
    resized.observe(place);
    return () => {
      place.removeEventListener("scroll", look);
      resized.disconnect();
    };
  }, [box, rows, columns, isLarge]);
  return isLarge ? sight : { rows: [0, rows], columns: [0, columns] };
}

function part(fromPx: number, lengthPx: number, sizePx: number, all: number): Part {
  const first = Math.max(0, Math.floor(fromPx / sizePx) - SPARE);
  const last = Math.min(all, Math.ceil((fromPx + lengthPx) / sizePx) + SPARE);
  return [Math.min(first, last), last];
}

const STEPS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};
