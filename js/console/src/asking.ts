/**
 * Asking the hub from a view: what it said, whether it is being asked, and what went wrong.
 *
 * The rule: what is shown stays while it is asked for again, so that news does not make it flicker;
 * an answer that comes late, for another question, is dropped.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { ask, type List, type Params, Problem, urlOf } from "./api.js";
import { useNews } from "./news.js";

export interface Asked<Answer> {
  readonly answer: Answer | null;
  readonly problem: Problem | null;
  readonly isBusy: boolean;
  again(): void;
}

/** Ask, and ask again when there is news of these topics. Null: there is nothing to ask. */
export function useAsk<Answer>(
  path: string | null,
  params: Params = {},
  topics: readonly string[] = [],
): Asked<Answer> {
  const url = path === null ? null : urlOf(path, params);
  const news = useNews(topics);
  const [count, setCount] = useState(0);
  const [state, setState] = useState<State<Answer>>({ url, answer: null, problem: null });
  const [isBusy, setIsBusy] = useState(url !== null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: news and count mean: once more
  useEffect(() => {
    if (url === null) return;
    const control = new AbortController();
    setIsBusy(true);
    ask<Answer>(url.slice("api/".length), {}, control.signal).then(
      (answer) => {
        setState({ url, answer, problem: null });
        setIsBusy(false);
      },
      (error) => {
        if (control.signal.aborted) return;
        setState((before) => ({ ...before, url, problem: asProblem(error) }));
        setIsBusy(false);
      },
    );
    return () => control.abort();
  }, [url, news, count]);
  const isOther = state.url?.split("?")[0] !== url?.split("?")[0];
  return {
    answer: isOther ? null : state.answer,
    problem: isOther ? null : state.problem,
    isBusy,
    again: () => setCount((before) => before + 1),
  };
}

interface State<Answer> {
  readonly url: string | null;
  readonly answer: Answer | null;
  readonly problem: Problem | null;
}

const PAGE_ROWS = 50;
const ROWS_MAX = 200;

export interface AskedList<Item, Head> extends Asked<Head> {
  readonly items: readonly Item[];
  readonly hasMore: boolean;
  /** Whether there is news that would change what is shown, which is too much to fetch again. */
  readonly isOld: boolean;
  more(): void;
}

/** Ask for a list, a page at a time; `answer` is what the first page said besides its items. */
export function useList<Item, Head = unknown>(
  path: string | null,
  params: Params = {},
  topics: readonly string[] = [],
): AskedList<Item, Head & List<Item>> {
  type Answer = Head & List<Item>;
  const url = path === null ? null : urlOf(path, params);
  const news = useNews(topics);
  const [first, setFirst] = useState<Answer | null>(null);
  const [items, setItems] = useState<readonly Item[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setIsBusy] = useState(url !== null);
  const [isOld, setIsOld] = useState(false);
  const [count, setCount] = useState(0);
  const shown = useRef({ url: "", items: 0, count: 0 });
  const control = useRef<AbortController>(new AbortController());

  // biome-ignore lint/correctness/useExhaustiveDependencies: news and count mean: once more
  useEffect(() => {
    if (url === null) return;
    const isSame = shown.current.url === url;
    const isAsked = shown.current.count !== count;
    if (isSame && !isAsked && shown.current.items > ROWS_MAX) {
      setIsOld(true);
      return;
    }
    if (shown.current.url.split("?")[0] !== url.split("?")[0]) {
      setFirst(null);
      setItems([]);
    }
    const rows = isSame && !isAsked ? Math.max(PAGE_ROWS, shown.current.items) : PAGE_ROWS;
    void load(null, Math.min(rows, ROWS_MAX));
    return () => control.current.abort();
  }, [url, news, count]);

  async function load(after: string | null, limit: number): Promise<void> {
    control.current.abort();
    const mine = new AbortController();
    control.current = mine;
    setIsBusy(true);
    try {
      const asked = urlOf(url!.slice("api/".length), { after, limit });
      const answer = await ask<Answer>(asked.slice("api/".length), {}, mine.signal);
      const all = after === null ? answer.items : [...items, ...answer.items];
      shown.current = { url: url!, items: all.length, count };
      if (after === null) setFirst(answer);
      setItems(all);
      setNext(answer.next ?? null);
      setProblem(null);
      setIsOld(false);
      setIsBusy(false);
    } catch (error) {
      if (mine.signal.aborted) return;
      setProblem(asProblem(error));
      setIsBusy(false);
    }
  }

  return {
    answer: first,
    problem,
    isBusy,
    items,
    hasMore: next !== null,
    isOld,
    again: () => setCount((before) => before + 1),
    more: () => void load(next, PAGE_ROWS),
  };
}

/** Carry out something that people asked for: whether it is under way, and what went wrong. */
export function useDeed(): {
  readonly isBusy: boolean;
  readonly problem: Problem | null;
  run(deed: () => Promise<void>): Promise<boolean>;
  forget(): void;
} {
  const [isBusy, setIsBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  return {
    isBusy,
    problem,
    forget: () => setProblem(null),
    async run(deed) {
      setIsBusy(true);
      setProblem(null);
      try {
        await deed();
        return true;
      } catch (error) {
        setProblem(asProblem(error));
        return false;
      } finally {
        setIsBusy(false);
      }
    },
  };
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem("error", String(error));
}
