/**
 * The transport: one request, one answer, and an error that says whose turn it is.
 *
 *     answered by a hub, 200                           the body
 *     answered by a hub, a problem                     the error that it names
 *     429, 5xx, 408, no answer, cut answer             hub-unreachable: try later
 *     answered by something that is no hub             no-hub: check the URL; once this transport has
 *                                                      reached its hub: hub-unreachable
 *
 * Twin of `src/reunite/replica/http.py`.
 * The rule: the token goes to the hub's own URL only, and into no error or log.
 */

import { parseJson, writeJson } from "../core/json_text.js";
import { badRequest, isError, ReuniteError } from "../errors.js";
import type { Problem, Wheres } from "../protocol/messages.js";
import { PROTOCOL_VERSION } from "../protocol/messages.js";
import type { Locks } from "./tabs.js";

/** A token, or what gives one; it is asked again when the hub refuses the one at hand. */
export type Token = string | (() => string | Promise<string>);
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** What carries requests to a hub where plain HTTP does not do, such as `sealed()` of
 * `reunite/sealed`. It authenticates them itself.
 *
 * base     the URL that requests begin with, as the hub's own would
 * locks    for pages that have none of the browser's, since they are not secure */
export interface Carrier {
  readonly base: string;
  readonly fetch: Fetch;
  readonly locks?: Locks;
}

/** Makes a carrier from what `connect` was given. */
export type Carriage = (url: string, token: Token) => Carrier;

/** How long the hub may take to begin an answer. */
const TIMEOUT_MS = 60_000;

/** Servers and proxies take URLs of 8,000 bytes, headers included. */
const URL_LENGTH_MAX = 6_000;

// Shorter requests travel as they are.
const COMPRESS_LENGTH_MIN = 4 * 1024;

/** What a stream is asked for. */
export interface LiveRequest {
  readonly replica: string;
  readonly cursor: string;
  readonly tables: readonly string[] | null;
  readonly where: Wheres;
}

export class Transport {
  /** The hub's URL, with a slash at its end. */
  readonly base: string;
  #token: string | null = null;
  #hasReachedHub = false;
  /** Bytes of answers so far, uncompressed. */
  bytes = 0;

  readonly #askToken: Token;
  readonly #fetch: Fetch;

  constructor(
    url: string,
    askToken: Token,
    fetch: Fetch = (address, init) => globalThis.fetch(address, init),
  ) {
    this.#askToken = askToken;
    this.#fetch = fetch;

    this.base = baseOf(url);
  }

  /** Send a message by POST, or ask by GET without one; the answer's JSON. `signal` breaks it off. */
  async call<Answer>(
    operation: string,
    message: unknown = null,
    signal: AbortSignal | null = null,
    timeoutMs: number = TIMEOUT_MS,
  ): Promise<Answer> {
    const body = message === null ? null : await packed(writeJson(message));
    return this.#withToken(async (token) => {
      const deadline = AbortSignal.timeout(timeoutMs);
      const init: RequestInit = {
        method: body === null ? "GET" : "POST",
        headers: { ...(body?.headers ?? {}), ...this.#headers(token) },
        signal: signal === null ? deadline : AbortSignal.any([signal, deadline]),
        ...(body !== null && { body: body.content }),
      };
      const response = await this.#send(`v1/${operation}`, init);
      const text = await reading(response);
      this.bytes += text.length;
      if (!response.ok) throw this.#problem(response, text);
      return this.#parsed(text) as Answer;
    });
  }

  /** A stream of the hub's events as bytes; null if the hub has none, or its URL would be too long. */
  async live(
    request: LiveRequest,
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array> | null> {
    const { replica, tables, where, cursor } = request;
    const query = new URLSearchParams({ protocol: String(PROTOCOL_VERSION), replica });
    if (tables !== null) query.set("tables", writeJson(tables));
    if (Object.keys(where).length > 0) query.set("where", writeJson(where));
    const path = `v1/live?${query}`;
    if (this.base.length + path.length > URL_LENGTH_MAX) return null;
    return this.#withToken(async (token) => {
      const headers = { ...this.#headers(token), "Last-Event-ID": cursor };
      const response = await this.#send(path, { headers, signal, cache: "no-store" });
      if (response.status === 204) return null;
      const type = response.headers.get("content-type") ?? "";
      if (response.ok && response.body !== null && type.startsWith("text/event-stream")) {
        return response.body;
      }
      throw this.#problem(response, await reading(response));
    });
  }

  #headers(token: string): Record<string, string> {
    return { Authorization: `Bearer ${token}` };
  }

  /** Ask with the token at hand, and once more with a new one if it is refused. */
  async #withToken<Result>(ask: (token: string) => Promise<Result>): Promise<Result> {
    const token = this.#token ?? (await this.#newToken());
    this.#token = token;
    try {
      return await ask(token);
    } catch (error) {
      if (!isError(error, "not-authenticated") || typeof this.#askToken === "string") throw error;
      // Another request may have brought a new one meanwhile.
      if (this.#token === token) this.#token = await this.#newToken();
      if (this.#token === token) throw error;
      return ask(this.#token);
    }
  }

  async #newToken(): Promise<string> {
    const ask = this.#askToken;
    let token: unknown = ask;
    try {
      if (typeof ask === "function") token = await ask();
    } catch (cause) {
      throw unreachable("The function that gives tokens failed.", { cause });
    }
    // Nothing else can stand in a header.
    if (typeof token === "string" && /^[ -~]*\s*$/.test(token)) return token;
    throw new ReuniteError("not-authenticated", "What was given is no token: log in again.");
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await this.#fetch(this.base + path, {
        ...init,
        redirect: "error",
        credentials: "omit",
      });
    } catch (cause) {
      if (isError(cause)) throw cause;
      throw unreachable("The hub does not answer.", { cause });
    }
    if (response.headers.get("reunite-protocol") === null) {
      await response.body?.cancel();
      const what = `What answered at ${this.base} with status ${response.status} is no hub.`;
      if (this.#hasReachedHub) throw unreachable(what, { status: response.status });
      throw new ReuniteError("no-hub", `${what} Check the URL.`, { status: response.status });
    }
    this.#hasReachedHub = true;
    return response;
  }

  #parsed(text: string): unknown {
    try {
      return parseJson(text);
    } catch (cause) {
      throw unreachable("The hub's answer was cut.", { cause });
    }
  }

  #problem(response: Response, text: string): ReuniteError {
    let problem: Problem = {};
    try {
      problem = (parseJson(text) ?? {}) as Problem;
    } catch {
      // Whatever it is, its status says the most.
    }
    return errorOf(problem, response.status, retryAfter(response, problem));
  }
}

/** The error that a problem means. 429, 408 and 5xx are for later, whatever their code. */
export function errorOf(problem: Problem, status: number, retryAfterS?: number): ReuniteError {
  const { code = "error", detail, title, path, limit } = problem;
  const message = detail ?? title ?? `The hub answered with status ${status}.`;
  const details = { path, limit, status, retryAfterS, hasAnswered: true };
  const isForLater = status === 408 || status === 429 || status >= 500;
  return new ReuniteError(isForLater ? "hub-unreachable" : code, message, details);
}

function unreachable(message: string, details: { cause?: unknown; status?: number }): ReuniteError {
  return new ReuniteError(
    "hub-unreachable",
    `${message} Nothing is lost: it is tried again.`,
    details,
  );
}

async function reading(response: Response): Promise<string> {
  try {
    return await response.text();
  } catch (cause) {
    if (isError(cause)) throw cause;
    throw unreachable("The hub's answer was cut.", { cause });
  }
}

function retryAfter(response: Response, problem: Problem): number | undefined {
  const seconds =
    problem.retry_after_s ?? Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

async function packed(
  text: string,
): Promise<{ content: BodyInit; headers: Record<string, string> }> {
  const headers = { "Content-Type": "application/json" };
  if (text.length < COMPRESS_LENGTH_MIN || typeof CompressionStream === "undefined") {
    return { content: text, headers };
  }
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  const content = await new Response(stream).arrayBuffer();
  return { content, headers: { ...headers, "Content-Encoding": "gzip" } };
}

function baseOf(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url, globalThis.location?.href);
  } catch (cause) {
    throw badRequest(`'${url}' is no URL of a hub.`, "url", cause);
  }
  if (parsed.protocol !== "https:" && parsed.protocol !== "http:") {
    throw badRequest("A hub's URL begins with https or http.", "url");
  }
  parsed.search = "";
  parsed.hash = "";
  return parsed.href.endsWith("/") ? parsed.href : `${parsed.href}/`;
}
