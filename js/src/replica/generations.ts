/**
 * Generations: up to which gap in the hub's log of a table the rows of this replica are healed.
 *
 * Twin of `src/reunite/replica/generations.py`.
 * The rule: rows count as healed only up to what the hub said before the first of them was read.
 */

import type { Page } from "../protocol/messages.js";
import { rareNow } from "../rare/load.js";
import type { State } from "./state.js";

type Generations = Readonly<Record<string, string>>;

/** The hub's generation of each table of the page. */
export function said(page: Page): Generations {
  return only(Object.keys(page.schemas), page.generations ?? {});
}

export function only(names: Iterable<string>, known: Generations): Generations {
  const of = new Map(Object.entries(known));
  return Object.fromEntries([...names].map((name) => [name, of.get(name) ?? ""]));
}

/** Note the tables whose rows begin to come whole with this page. */
export function generationsBegin(state: State, page: Page): void {
  if (page.reset) {
    state.nextGenerations = said(page);
  } else if (state.nextSchemas !== null) {
    rareNow().generationsOfNew(state, page, state.nextSchemas);
  }
}

/** The checkpoint `page` shows what gathered. */
export function generationsShow(state: State, page: Page): void {
  const known = { ...state.generations, ...state.nextGenerations };
  state.generations = only(Object.keys(page.schemas), known);
  state.nextGenerations = {};
}

/** The tables of which rows are shown that a gap may have spoilt, with what the hub says. */
export function generationGaps(state: State, page: Page): Generations {
  const members = Object.entries(said(page));
  const known = new Map(Object.entries(state.generations));
  return Object.fromEntries(members.filter(([name, now]) => (known.get(name) ?? "") !== now));
}
