/**
 * Who is here, and what they may do; known to every view.
 */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Session } from "./api.js";

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  return useContext(SessionContext)!;
}

/** Why this person may change nothing; null if they may. */
export function useWhyNot(): string | null {
  const { can } = useSession();
  return can.includes("console:write")
    ? null
    : "You may look, but not change anything: your roles lack console:write.";
}

/** Whether the API of this hub has this path. */
export function useHas(): (path: string) => boolean {
  const { has } = useSession();
  return (path) => has.has(path);
}
