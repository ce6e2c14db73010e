/**
 * What the hub said, is being asked, or could not say: every view has these states alike.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useAddress } from "../address.js";
import type { Problem } from "../api.js";
import type { Asked, AskedList } from "../asking.js";

/** The head of a page. It gets the focus when a link leads here, so that it is read out. */
export function Page(props: {
  title: string;
  lead?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${props.title} · reunite`;
  }, [props.title]);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <>
      <header class="head">
        <h1 ref={heading} tabIndex={-1}>
          {props.title}
        </h1>
        {props.actions && <div class="actions">{props.actions}</div>}
        {props.lead && <p class="lead">{props.lead}</p>}
      </header>
      {props.children}
    </>
  );
}

/** A problem, and a way to try again. */
export function Trouble({ problem, again }: { problem: Problem; again?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <p>{problem.message}</p>
      {again && (
        <button type="button" class="small" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Waiting({ what = "Loading…" }: { what?: string }) {
  return (
    <p class="waiting" aria-busy="true" role="status">
      {what}
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

/** Show an answer; until there is one, that it is coming, or why it does not. */
export function Answer<T>({
  of,
  children,
}: {
  of: Asked<T>;
  children: (answer: T) => ComponentChildren;
}) {
  return (
    <>
      {of.problem && <Trouble problem={of.problem} again={of.again} />}
      {of.answer !== null ? children(of.answer) : of.problem === null && <Waiting />}
    </>
  );
}

export interface Column<Item> {
  readonly name: string;
  readonly show: (item: Item) => ComponentChildren;
  readonly isNumber?: boolean;
  /** What the rows may be ordered by with this column. */
  readonly sort?: string;
}

/** A list, with more of it on demand: `children` show the items that are there. */
export function Listing<Item>({
  of,
  empty,
  more = "More",
  children,
}: {
  of: AskedList<Item, unknown>;
  empty: ComponentChildren;
  more?: string;
  children: (items: readonly Item[]) => ComponentChildren;
}) {
  if (of.problem !== null && of.items.length === 0) {
    return <Trouble problem={of.problem} again={of.again} />;
  }
  if (of.items.length === 0 && !of.hasMore) {
    return of.isBusy && of.answer === null ? <Waiting /> : <Empty>{empty}</Empty>;
  }
  return (
    <>
      {of.problem && <Trouble problem={of.problem} again={of.again} />}
      {of.isOld && (
        <p class="banner">
          There is news.{" "}
          <button type="button" class="link" onClick={of.again}>
            Show it
          </button>
        </p>
      )}
      {children(of.items)}
      {of.hasMore && (
        <button type="button" class="more secondary" aria-busy={of.isBusy} onClick={of.more}>
          {more}
        </button>
      )}
    </>
  );
}

/** A list as a table. */
export function Rows<Item>({
  caption,
  columns,
  sort,
  ...list
}: {
  of: AskedList<Item, unknown>;
  caption: string;
  columns: readonly Column<Item>[];
  empty: ComponentChildren;
  more?: string;
  sort?: { by: string; isDescending: boolean; set: (by: string, isDescending: boolean) => void };
}) {
  return (
    <Listing {...list}>
      {(items) => (
        <Table items={items} caption={caption} columns={columns} {...(sort && { sort })} />
      )}
    </Listing>
  );
}

/** Says that a list has nothing; while something narrows it, that this may be why. */
export function Nothing({
  yet,
  what = "entry",
  filtered,
  by,
}: {
  yet: ComponentChildren;
  what?: string;
  filtered?: string | null;
  by?: readonly string[];
}) {
  const { query } = useAddress();
  const isNarrowed = by === undefined ? query.size > 0 : by.some((name) => query.has(name));
  if (!isNarrowed) return <p>{yet}</p>;
  return <p>{filtered ?? `No ${what} is like this: change the filters.`}</p>;
}

/** `empty`: what is said where there are no items. */
export function Table<Item>({
  items,
  caption,
  columns,
  sort,
  empty,
}: {
  items: readonly Item[];
  caption: string;
  columns: readonly Column<Item>[];
  empty?: ComponentChildren;
  sort?: { by: string; isDescending: boolean; set: (by: string, isDescending: boolean) => void };
}) {
  if (items.length === 0 && empty !== undefined) return <Empty>{empty}</Empty>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
    <section class="scroll" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => {
              const isBy = sort !== undefined && column.sort === sort.by;
              const order = isBy ? (sort.isDescending ? "descending" : "ascending") : "none";
              return (
                <th
                  scope="col"
                  class={column.isNumber ? "number" : ""}
                  {...(sort && column.sort && { "aria-sort": order as "none" })}
                >
                  {sort && column.sort ? (
                    <button
                      type="button"
                      class="link"
                      onClick={() => sort.set(column.sort!, isBy ? !sort.isDescending : true)}
                    >
                      {column.name}
                      <span aria-hidden="true">
                        {isBy ? (sort.isDescending ? " ↓" : " ↑") : ""}
                      </span>
                    </button>
                  ) : (
                    column.name
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {items.map((item, index) => (
            <tr key={identityOf(item, index)}>
              {columns.map((column) => (
                <td class={column.isNumber ? "number" : ""}>{column.show(item)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** What a row is of, so that what is open in it stays with it when news come before it. */
function identityOf(item: unknown, index: number): string | number {
  if (typeof item !== "object" || item === null || Array.isArray(item)) {
    return Array.isArray(item) ? index : String(item);
  }
  const { id, seq, role, table, name } = item as Readonly<Record<string, unknown>>;
  const known = [id, seq, role, table, name].filter((part) => part !== undefined);
  return known.length === 0 ? index : JSON.stringify(known);
}

/** Named numbers side by side. */
export function Cards({ of }: { of: readonly (readonly [string, ComponentChildren, string?])[] }) {
  return (
    <dl class="cards">
      {of.map(([name, value, link]) => (
        <div>
          <dt>{name}</dt>
          <dd>{link ? <a href={link}>{value}</a> : value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Names with what stands for them. */
export function Facts({ of }: { of: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {of.map(([name, value]) => (
        <div>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
