/**
 * Around every page: the menu, search, who is here, light and dark, and the keys.
 */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { go, linkTo, useAddress } from "./address.js";
import { tell } from "./api.js";
import { useLine } from "./news.js";
import { OTHERS, PAGES, type PageEntry } from "./pages.js";
import { Empty, Page } from "./parts/answers.js";
import { Dialog } from "./parts/forms.js";
import { Notes, say } from "./parts/notes.js";
import { useHas, useSession, useWhyNot } from "./session.js";

export function Shell({ onOut }: { onOut: () => void }) {
  const { path } = useAddress();
  const has = useHas();
  const [isMenuOpen, setIsMenuOpen] = useState(false);
  const [isHelpOpen, setIsHelpOpen] = useState(false);
  const search = useRef<HTMLInputElement>(null);
  useKeys(search, has, () => setIsHelpOpen(true));
  const place = path.join("/");
  // biome-ignore lint/correctness/useExhaustiveDependencies: a menu closes when it has led somewhere
  useEffect(() => setIsMenuOpen(false), [place]);
  const pages = PAGES.filter(({ needs }) => has(needs));
  const known = [...pages, ...OTHERS.filter(({ needs }) => has(needs))];
  const entry = known.find((one) => one.path === (path[0] ?? ""));
  return (
    <div class="frame">
      <button
        type="button"
        class="skip"
        onClick={() => document.querySelector<HTMLElement>("main h1")?.focus()}
      >
        Skip to the page
      </button>
      <Top
        search={search}
        isMenuOpen={isMenuOpen}
        onMenu={() => setIsMenuOpen(!isMenuOpen)}
        onHelp={() => setIsHelpOpen(true)}
        onOut={onOut}
      />
      <nav id="menu" aria-label="Pages" class={isMenuOpen ? "open" : ""}>
        <ul>
          {pages.map((page) => (
            <li>
              <a href={linkTo([page.path])} {...(page === entry && { "aria-current": "page" })}>
                {page.name}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <main>
        <ReadOnly />
        <Shown entry={entry} id={path[1]} key={place} />
      </main>
      <Notes />
      {isHelpOpen && <Help onClose={() => setIsHelpOpen(false)} />}
    </div>
  );
}

function Shown({ entry, id }: { entry: PageEntry | undefined; id: string | undefined }) {
  if (entry !== undefined && id === undefined) return <entry.view />;
  if (entry?.detail !== undefined && id !== undefined) return <entry.detail id={id} />;
  return (
    <Page title="There is no such page">
      <Empty>
        <p>The address is of no page of this console.</p>
        <a href="./">Overview</a>
      </Empty>
    </Page>
  );
}

function ReadOnly() {
  const whyNot = useWhyNot();
  return whyNot === null ? null : <p class="banner">{whyNot}</p>;
}

function Top({
  search,
  isMenuOpen,
  onMenu,
  onHelp,
  onOut,
}: {
  search: { current: HTMLInputElement | null };
  isMenuOpen: boolean;
  onMenu: () => void;
  onHelp: () => void;
  onOut: () => void;
}) {
  const session = useSession();
  const logOut = async () => {
    try {
      await tell("DELETE", "session");
      onOut();
    } catch (error) {
      say((error as Error).message);
    }
  };
  return (
    <header class="top">
      <button
        type="button"
        class="small menu"
        aria-expanded={isMenuOpen}
        aria-controls="menu"
        onClick={onMenu}
      >
        Menu
      </button>
      <a class="brand" href="./">
        reunite <span>console</span>
      </a>
      <form
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          const q = search.current?.value.trim();
          if (q) go(linkTo(["search"], { q }));
        }}
      >
        <input
          ref={search}
          type="search"
          name="q"
          aria-label="Search replicas, tables, users, tenants and pages"
          placeholder="Search ( / )"
          autocomplete="off"
          spellcheck={false}
        />
      </form>
      <Line />
      <Theme />
      <button
        type="button"
        class="small plain keys-button"
        aria-label="Keys"
        title="Keys ( ? )"
        onClick={onHelp}
      >
        ?
      </button>
      <span class="who" title={`You are ${session.user}`}>
        {session.user}
      </span>
      <button type="button" class="small secondary" onClick={logOut}>
        Log out
      </button>
    </header>
  );
}

const LINE = {
  live: ["live", "good", "What changes at the hub is shown at once."],
  polling: ["polling", "plain", "The hub is asked for news every few seconds."],
  lost: ["no line", "bad", "The hub does not answer: what is shown may be old."],
} as const;

function Line() {
  const [text, kind, title] = LINE[useLine()];
  return (
    <span class={`tag ${kind}`} title={title} role="status">
      {text}
    </span>
  );
}

const THEMES = ["auto", "light", "dark"] as const;
const THEME_KEY = "reunite-console-theme";

function Theme() {
  const [theme, setTheme] = useState(() => localStorage.getItem(THEME_KEY) ?? "auto");
  // Kept before the page is painted: who chooses and leaves at once has chosen.
  useLayoutEffect(() => {
    if (theme === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = theme;
    localStorage.setItem(THEME_KEY, theme);
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme as "auto") + 1) % THEMES.length]!;
  return (
    <button
      type="button"
      class="small plain theme"
      aria-label={`Colours: ${theme}. Change to ${next}`}
      title={`Colours: ${theme}`}
      onClick={() => setTheme(next)}
    >
      {theme === "light" ? "☀" : theme === "dark" ? "☾" : "◐"}
    </button>
  );
}

/** `/` searches, `g` and a letter go to a page, `?` tells the keys. */
function useKeys(
  search: { current: HTMLInputElement | null },
  has: (path: string) => boolean,
  onHelp: () => void,
): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: once
  useEffect(() => {
    let isGoing = false;
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const isTyping = target.closest("input, textarea, select, dialog") !== null;
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      const page = isGoing
        ? PAGES.find(({ key, needs }) => key === event.key && has(needs))
        : undefined;
      isGoing = event.key === "g";
      if (page) go(linkTo([page.path]));
      else if (event.key === "/") search.current?.focus();
      else if (event.key === "?") onHelp();
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}

function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl class="keys">
        <div>
          <dt>
            <kbd>/</kbd>
          </dt>
          <dd>search</dd>
        </div>
        {PAGES.map(({ key, name }) => (
          <div>
            <dt>
              <kbd>g</kbd> <kbd>{key}</kbd>
            </dt>
            <dd>{name}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>?</kbd>
          </dt>
          <dd>these keys</dd>
        </div>
      </dl>
    </Dialog>
  );
}
