/**
 * Server-sent events, read from the bytes of a stream.
 */

/** One event. `id` is "" where it has none. */
export interface ServerEvent {
  readonly name: string;
  readonly data: string;
  readonly id: string;
}

/** The events of a stream as they come, until it ends or `signal` aborts. `onSign` is called for
 * everything that arrives, signs of life among it. */
export async function* eventsOf(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal,
  onSign: () => void,
): AsyncGenerator<ServerEvent> {
  const reader = stream.getReader();
  // A stream that is half open does not end by itself.
  signal.addEventListener("abort", () => void reader.cancel().catch(() => {}));
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onSign();
      text += decoder.decode(value, { stream: true }).replaceAll("\r\n", "\n");
      for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
        const event = eventOf(text.slice(0, end));
        text = text.slice(end + 2);
        if (event !== null) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function eventOf(block: string): ServerEvent | null {
  let [name, id] = ["message", ""];
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") name = value;
    else if (field === "id") id = value;
    else if (field === "data") data.push(value);
  }
  return data.length === 0 ? null : { name, id, data: data.join("\n") };
}
