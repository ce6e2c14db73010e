/** Tabs of a page; which one is open stands in the address. */

import { address, linkTo, useAddress } from "../address.js";

export function Tabs({ of, first }: { of: readonly (readonly [string, string])[]; first: string }) {
  const { query } = useAddress();
  const open = query.get("tab") ?? first;
  return (
    <nav class="tabs" aria-label="Parts of this page">
      {of.map(([name, text]) => (
        <a
          href={linkTo(address().path, { tab: name === first ? null : name })}
          {...(name === open && { "aria-current": "page" })}
        >
          {text}
        </a>
      ))}
    </nav>
  );
}
