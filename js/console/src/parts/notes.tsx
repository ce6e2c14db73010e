/**
 * Notes: what was done, at the edge of the page, with a way back where there is one.
 */

import { useEffect, useState } from "preact/hooks";

export interface Note {
  readonly text: string;
  readonly undo?: () => Promise<void>;
}

const SHOWN_MS = 12_000;
const listeners = new Set<(note: Note) => void>();

/** Say something that has happened. */
export function say(text: string, undo?: () => Promise<void>): void {
  for (const listener of listeners) listener(undo ? { text, undo } : { text });
}

export function Notes() {
  const [note, setNote] = useState<Note | null>(null);
  useEffect(() => {
    listeners.add(setNote);
    return () => {
      listeners.delete(setNote);
    };
  }, []);
  useEffect(() => {
    if (note === null) return;
    const timer = setTimeout(() => setNote(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [note]);
  const undo = async () => {
    const back = note?.undo;
    setNote(null);
    try {
      await back?.();
      say("Undone.");
    } catch (error) {
      say(`Not undone: ${(error as Error).message}`);
    }
  };
  return (
    <div class="notes" role="status" aria-live="polite">
      {note && (
        <p>
          <span>{note.text}</span>
          {note.undo && (
            <button type="button" class="small" onClick={undo}>
              Undo
            </button>
          )}
          <button
            type="button"
            class="small plain"
            aria-label="Close"
            onClick={() => setNote(null)}
          >
            ✕
          </button>
        </p>
      )}
    </div>
  );
}
