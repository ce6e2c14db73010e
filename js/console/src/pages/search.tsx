/** Search: replicas, tables, users, tenants and pages by their names. */

import { linkTo, useAddress } from "../address.js";
import { useList } from "../asking.js";
import { PAGES } from "../pages.js";
import { Empty, Page, Trouble } from "../parts/answers.js";

interface Named {
  readonly id?: string;
  readonly name: string;
  readonly title?: string | null;
}

const PLACES = [
  ["replicas", "Replicas", (one: Named) => linkTo(["replicas", one.id ?? ""])],
  ["tables", "Tables", (one: Named) => linkTo(["tables", one.name])],
  ["users", "Users", (one: Named) => linkTo(["people"], { q: one.name })],
] as const;

export function Search() {
  const { query } = useAddress();
  const q = query.get("q") ?? "";
  const pages = PAGES.filter(({ name }) => name.toLowerCase().includes(q.toLowerCase()));
  return (
    <Page title={`Search: ${q}`}>
      {q === "" ? (
        <Empty>
          <p>Type what you look for above.</p>
        </Empty>
      ) : (
        <>
          {pages.length > 0 && (
            <section>
              <h2>Pages</h2>
              <ul>
                {pages.map(({ path, name }) => (
                  <li>
                    <a href={linkTo([path])}>{name}</a>
                  </li>
                ))}
              </ul>
            </section>
          )}
          {PLACES.map(([path, title, link]) => (
            <Found key={path} path={path} title={title} link={link} q={q} />
          ))}
          <Tenants q={q} />
        </>
      )}
    </Page>
  );
}

function Found({
  path,
  title,
  link,
  q,
}: {
  path: string;
  title: string;
  link: (one: Named) => string;
  q: string;
}) {
  const asked = useList<Named>(path, { q });
  return (
    <section>
      <h2>{title}</h2>
      {asked.problem ? (
        <Trouble problem={asked.problem} again={asked.again} />
      ) : asked.items.length === 0 ? (
        <p class="soft">{asked.isBusy ? "Looking…" : "None is called so."}</p>
      ) : (
        <ul>
          {asked.items.map((one) => (
            <li>
              <a href={link(one)}>{one.name || one.id}</a>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Tenants({ q }: { q: string }) {
  const asked = useList<Named>("tenants", {});
  const found = asked.items.filter(({ name, title }) =>
    `${name} ${title ?? ""}`.toLowerCase().includes(q.toLowerCase()),
  );
  if (found.length === 0) return null;
  return (
    <section>
      <h2>Tenants</h2>
      <ul>
        {found.map(({ name, title }) => (
          <li>
            <a href={linkTo(["permissions"], { tenant: name })}>{title || name}</a>
          </li>
        ))}
      </ul>
    </section>
  );
}
