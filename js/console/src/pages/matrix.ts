/**
 * The matrix of stored permissions: tables × roles × six flags, of one tenant.
 *
 * The rule: a change names the etag of the cell that was looked at, so nobody's change is overwritten
 * unseen; and it comes back with what was there, so that it can be undone.
 */

import { tell } from "../api.js";

export const FLAGS = ["push", "pull", "create", "update", "delete", "read"] as const;
export type Flag = (typeof FLAGS)[number];
export type Flags = Readonly<Record<Flag, boolean>>;

export const NONE: Flags = {
  push: false,
  pull: false,
  create: false,
  update: false,
  delete: false,
  read: false,
};

/** What a flag lets somebody do, and its letter. */
export const FLAG_WORDS: Readonly<Record<Flag, readonly [string, string]>> = {
  push: ["P", "push changes of"],
  pull: ["L", "pull"],
  create: ["C", "create rows of"],
  update: ["U", "update rows of"],
  delete: ["D", "delete rows of"],
  read: ["R", "read"],
};

export interface Cell {
  readonly role: string;
  readonly table: string;
  readonly flags: Flags | null;
  readonly etag: string;
  readonly filters?: number;
}

export interface Matrix {
  readonly tenant: string;
  readonly tables: readonly string[];
  readonly roles: readonly {
    readonly name: string;
    readonly template: string | null;
    readonly users: number;
  }[];
  readonly cells: readonly Cell[];
  readonly templates: Readonly<Record<string, Flags>>;
  readonly can_edit: boolean;
  readonly why_not: string | null;
  readonly can_open: boolean;
}

export interface PreviewItem {
  readonly tenant: string;
  readonly role: string;
  readonly table: string;
  readonly now: number | null;
  readonly then: number | null;
  readonly appear: number | null;
  readonly vanish: number | null;
  readonly because: string | null;
}

export interface Wish {
  readonly role: string;
  readonly table: string;
  readonly flags: Flags | null;
}

const PREVIEW_MAX = 200;

export const nameOf = (role: string, table: string): string => JSON.stringify([role, table]);

/** Store one cell; the cell now, and what it was. */
export function putCell(
  tenant: string,
  { role, table, flags }: Wish,
  etag: string,
): Promise<{ cell: Cell; was: Cell; was_open: boolean }> {
  return tell("PUT", "permissions", { tenant, role, table, flags }, etag);
}

/** Store many cells, all or nothing. */
export function putCells(
  tenant: string,
  cells: readonly Cell[],
): Promise<{ cells: readonly Cell[]; was: readonly Cell[]; was_open: boolean }> {
  const items = cells.map(({ role, table, flags, etag }) => ({ tenant, role, table, flags, etag }));
  return tell("POST", "permissions/bulk", { items });
}

/** Let every token open every table again, once there is no permission any more. */
export const openUp = (): Promise<void> => tell("POST", "permissions/open", {});

export interface Preview {
  readonly items: readonly PreviewItem[];
  /** What else comes of the first permissions of an open hub. */
  readonly closing: { readonly text: string } | null;
}

/** How many rows people of each role would get or lose; of the first cells, if there are many. */
export function preview(tenant: string, wishes: readonly Wish[]): Promise<Preview> {
  const items = wishes
    .slice(0, PREVIEW_MAX)
    .map(({ role, table, flags }) => ({ tenant, role, table, flags: flags ?? NONE }));
  return tell<Preview>("POST", "permissions/preview", { items });
}

/** What to send to have everything as it was: the old flags, under the etags of now. */
export function backTo(was: readonly Cell[], now: readonly Cell[]): Cell[] {
  const etags = new Map(now.map((cell) => [nameOf(cell.role, cell.table), cell.etag]));
  return was.map((cell) => ({ ...cell, etag: etags.get(nameOf(cell.role, cell.table)) ?? "-" }));
}
