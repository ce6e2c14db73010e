/**
 * Where the console is: the path below its base, and what is asked for behind it.
 *
 *     replicas/7f3a…?state=behind   →   path ["replicas", "7f3a…"], query state=behind
 *
 * The rule: every view has an address. Links are ordinary ones, relative to the page's `<base>`.
 */

import { useEffect, useState } from "preact/hooks";

export interface Address {
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

const CHANGED = "reunite-address";

const basePath = (): string => new URL(document.baseURI).pathname;

/** The address that the browser shows. */
export function address(): Address {
  const below = location.pathname.slice(basePath().length);
  const path = below.split("/").filter(Boolean).map(decoded);
  return { path, query: new URLSearchParams(location.search) };
}

/** A link below the base: steps of a path, and what is asked for; null and "" are left out. */
export function linkTo(
  path: readonly string[],
  query: Readonly<Record<string, string | null | undefined>> = {},
): string {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) asked.set(name, value);
  const text = asked.toString();
  return (path.map(encodeURIComponent).join("/") || "./") + (text && `?${text}`);
}

/** Go to a link of the console. */
export function go(link: string, isReplacing = false): void {
  const url = new URL(link, document.baseURI);
  if (url.href === location.href) return;
  history[isReplacing ? "replaceState" : "pushState"](null, "", url);
  dispatchEvent(new Event(CHANGED));
}

/** Ask for something else in the same place. */
export function goAsking(changes: Readonly<Record<string, string | null>>): void {
  const { path, query } = address();
  go(linkTo(path, { ...Object.fromEntries(query), ...changes }), true);
}

/** The address, as it changes. */
export function useAddress(): Address {
  const [now, setNow] = useState(address);
  useEffect(() => {
    const look = () => setNow(address());
    addEventListener(CHANGED, look);
    addEventListener("popstate", look);
    return () => {
      removeEventListener(CHANGED, look);
      removeEventListener("popstate", look);
    };
  }, []);
  return now;
}

/** Have clicks on links of the console stay in this page. */
export function keepLinksHere(): void {
  document.addEventListener("click", (event) => {
    const link = (event.target as Element).closest?.("a");
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!link || !isPlain || event.defaultPrevented || link.target || link.hasAttribute("download"))
      return;
    const url = new URL(link.href);
    const isOurs = url.origin === location.origin && url.pathname.startsWith(basePath());
    if (!isOurs || url.pathname.startsWith(`${basePath()}api/`)) return;
    event.preventDefault();
    go(link.href);
  });
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step;
  }
}
