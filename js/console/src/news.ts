/**
 * News: what has changed at the hub, by topic.
 *
 *     api/events ──► pulse {topic: text} ──► who shows a topic whose text is another one asks again
 *     no streams ──► api/pulse each five seconds
 *
 * The rule: news carries no data. Whoever shows something fetches it, so rights are asked each time.
 */

import { useEffect, useState } from "preact/hooks";
import { ask, Problem, type Session } from "./api.js";

const POLL_MS = 5_000;
const AGAIN_MS = 3_000;
// What comes faster is shown together.
const CALM_MS = 400;

export type LineState = "live" | "polling" | "lost";
type Topics = Readonly<Record<string, string>>;

interface Listener {
  readonly topics: readonly string[];
  readonly callback: () => void;
}

const listeners = new Set<Listener>();
const lineListeners = new Set<(state: LineState) => void>();
let known: Topics = {};
let line: LineState = "polling";

/** Follow the hub's news until the returned function is called. */
export function follow(session: Session): () => void {
  known = {};
  return session.streams ? stream() : poll();
}

function stream(): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOver = false;
  const open = () => {
    if (isOver) return;
    source = new EventSource(new URL("api/events", document.baseURI));
    source.addEventListener("pulse", (event) => {
      setLine("live");
      take(JSON.parse((event as MessageEvent<string>).data));
    });
    source.addEventListener("bye", () => {
      source?.close();
      void look();
    });
    source.onerror = () => {
      source?.close();
      setLine("lost");
      // A look tells apart a hub that is gone from a session that is over.
      void look().then((isThere) => {
        if (isThere) timer = setTimeout(open, AGAIN_MS);
      });
    };
  };
  open();
  return () => {
    isOver = true;
    clearTimeout(timer);
    source?.close();
  };
}

function poll(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOver = false;
  const again = async () => {
    const goesOn = await look("polling");
    if (goesOn && !isOver) timer = setTimeout(again, POLL_MS);
  };
  void again();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** Ask once; false if the session is over. */
async function look(state: LineState | null = null): Promise<boolean> {
  try {
    take(await ask("pulse"));
    if (state !== null) setLine(state);
    return true;
  } catch (error) {
    setLine("lost");
    return !(error instanceof Problem && error.status === 401);
  }
}

function take(pulse: { readonly topics: Topics }): void {
  const before = known;
  known = pulse.topics;
  const isFirst = Object.keys(before).length === 0;
  if (isFirst) return;
  for (const { topics, callback } of [...listeners]) {
    if (topics.some((topic) => before[topic] !== known[topic])) callback();
  }
}

function setLine(state: LineState): void {
  const wasLost = line === "lost" && state !== "lost";
  line = state;
  for (const callback of lineListeners) callback(state);
  // What was missed meanwhile is not known topic by topic.
  if (wasLost) for (const { callback } of [...listeners]) callback();
}

/** A number that grows when there is news of one of these topics. */
export function useNews(topics: readonly string[]): number {
  const [count, setCount] = useState(0);
  const wanted = topics.join(" ");
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const listener: Listener = {
      topics: wanted.split(" "),
      callback: () => {
        timer ??= setTimeout(() => {
          timer = undefined;
          setCount((before) => before + 1);
        }, CALM_MS);
      },
    };
    listeners.add(listener);
    return () => {
      clearTimeout(timer);
      listeners.delete(listener);
    };
  }, [wanted]);
  return count;
}

/** Whether the hub's news come in. */
export function useLine(): LineState {
  const [state, setState] = useState(line);
  useEffect(() => {
    lineListeners.add(setState);
    setState(line);
    return () => {
      lineListeners.delete(setState);
    };
  }, []);
  return state;
}
