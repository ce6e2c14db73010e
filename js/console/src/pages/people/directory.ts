/** What the hub's directory holds, as its API tells it. */

import { useSession } from "../../session.js";

export interface User {
  readonly name: string;
  readonly is_active: boolean;
  readonly has_password: boolean;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly created_ms: number;
  readonly roles: readonly { readonly tenant: string; readonly role: string }[];
  readonly log_ins: number;
  readonly replicas: number;
  readonly url?: string | null;
}

export interface Tenant {
  readonly name: string;
  readonly title: string | null;
  readonly value: unknown;
  readonly is_active: boolean;
  readonly created_ms: number;
  readonly users: number;
  readonly replicas: number;
  readonly url?: string | null;
}

export interface Role {
  readonly name: string;
  readonly template: string | null;
  readonly created_ms: number;
  readonly users: number;
  readonly url?: string | null;
}

/** The news that these lists follow. */
export const TOPICS = ["directory"];

/** Why nothing can be changed here, if the directory is the host's. */
export function useOwn(): string | null {
  const { directory } = useSession();
  return directory === "own" ? null : "These are the application's own: change them in its admin.";
}
