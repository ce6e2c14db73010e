/**
 * A client of a sealed door: what looks like `fetch`, and says everything sealed.
 *
 *     hello ──► welcome          a handshake under the token's secret, once a session
 *     request ──► answer         at the door that the last answer named
 *
 * Refusals come unsealed, so anybody may have made them: one that says that nothing was done is
 * followed by a new hello and the same request, a few times; the others are thrown.
 * The rule: the token is in no URL, no error and no log, and nothing of it is stored here.
 */

import { isError, ReuniteError } from "../errors.js";
import type { Fetch, Token } from "../net/transport.js";
import {
  HELLO,
  KEY_ID_BYTES,
  Opening,
  REQUEST,
  SESSION_BYTES,
  sealRequest,
  WELCOME,
} from "./frames.js";
import { type Bytes, broken, type Ciphers, Initiator, joined, KEY_BYTES, NONE } from "./noise.js";

const PROLOGUE = new TextEncoder().encode("reunite sealed door 1");

/** How often one request is sealed anew, because its door or session was over. */
const TRIES_MAX = 5;

/** Frames of a session; under one key there must be fewer than 2^32. */
const FRAMES_MAX = 2 ** 31 - 2 ** 16;

/** Refusals after which nothing was done, and a new hello may help. */
const OVER = ["door-closed", "session-unknown", "key-unknown", "key-expired"];
/** Of these, those that the token is to blame for. */
const TOKEN_OVER = ["key-unknown", "key-expired"];
/** All that a door says. */
const REFUSALS = [...OVER, "seal-broken", "replayed"];

/** What passes from the hub's own headers; the token is the door's, and none of the hub's. */
const HEADERS = ["content-type", "content-encoding", "last-event-id", "accept"];

interface Session {
  readonly id: Uint8Array;
  readonly ciphers: Ciphers;
  door: string;
  sent: number;
}

/** What a welcome or an answer says about the door. */
interface AboutDoor {
  readonly door: string;
  readonly token?: string | null;
}

interface AnswerHead extends AboutDoor {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

export class Door {
  /** Where the doors are, with a slash at the end. */
  readonly base: string;
  #session: Session | null = null;
  #greeting: Promise<Session> | null = null;
  #door: string;
  #token: string | null = null;

  readonly #askToken: Token;
  readonly #fetch: Fetch;
  readonly #onToken: (token: string) => void;

  /** `url` is that of any door, or of the path where they are. */
  constructor(url: string, askToken: Token, fetch: Fetch, onToken: (token: string) => void) {
    const { base, door } = placeOf(url);
    this.base = base;
    this.#door = door;
    this.#askToken = askToken;
    this.#fetch = fetch;
    this.#onToken = onToken;
  }

  /** Ask the hub behind the door, as `fetch` would. Throws the door's refusals by their codes, and
   * `seal-broken` for an answer that is not the hub's; what the network says passes as it is. */
  readonly fetch: Fetch = async (url, init) => {
    const head = headOf(url.slice(this.base.length - 1), init);
    const body = await bytesOf(init.body);
    const signal = init.signal ?? null;
    for (let tries = 1; ; tries += 1) {
      const session = await this.#welcomed(signal);
      const takeNumber = () => session.sent++;
      const { door, id, ciphers } = session;
      const sealed = sealRequest(ciphers.sending, takeNumber, id, head, body);
      const message = joined(Uint8Array.of(REQUEST), id, sealed.frames);
      const response = await this.#say(door, message, signal);
      if (isSealed(response)) {
        const opening = new Opening(ciphers.receiving, id, sealed.request);
        return this.#opened(session, response, opening);
      }
      const refusal = await refusalOf(response);
      if (refusal === null) return new Response(null, { status: response.status });
      // Another answer may have named the next door meanwhile.
      if (refusal.code !== "door-closed" || session.door === door) this.#forget(session);
      if (tries >= TRIES_MAX || !OVER.includes(refusal.code)) throw refusal;
    }
  };

  #say(door: string, message: Bytes, signal: AbortSignal | null): Promise<Response> {
    // Without a type, so that pages of other origins need not ask beforehand.
    const body = new Blob([message]);
    return this.#fetch(this.base + door, {
      method: "POST",
      body,
      signal,
      redirect: "error",
      credentials: "omit",
      cache: "no-store",
    });
  }

  // -- sessions -----------------------------------------------------------------------------------

  /** The session at hand, or a new one; however many ask, they get the same. */
  async #welcomed(signal: AbortSignal | null): Promise<Session> {
    if (this.#session !== null && this.#session.sent < FRAMES_MAX) return this.#session;
    this.#greeting ??= this.#greet().finally(() => {
      this.#greeting = null;
    });
    const session = await this.#greeting;
    signal?.throwIfAborted();
    return session;
  }

  #forget(session: Session): void {
    if (this.#session === session) this.#session = null;
  }

  /** Say hello; with another token if the one at hand is over. */
  async #greet(): Promise<Session> {
    const token = this.#token ?? (await this.#newToken());
    try {
      return await this.#hello(token);
    } catch (error) {
      const isOver = isError(error, ...TOKEN_OVER);
      if (!isOver) throw error;
      this.#token = null;
      const given = await this.#newToken();
      if (given === token) throw error;
      return this.#hello(given);
    }
  }

  async #newToken(): Promise<string> {
    return typeof this.#askToken === "string" ? this.#askToken : this.#askToken();
  }

  async #hello(token: string): Promise<Session> {
    const { keyId, secret } = parseToken(token);
    const ephemeral = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
    const initiator = new Initiator(secret, ephemeral, joined(PROLOGUE, keyId));
    const message = joined(Uint8Array.of(HELLO), keyId, initiator.write());
    // Not the signal of whoever asked first: others wait for it, too.
    const response = await this.#say(this.#door, message, AbortSignal.timeout(60_000));
    if (!isSealed(response)) {
      throw (
        (await refusalOf(response)) ??
        new ReuniteError(
          "no-hub",
          `What answered at ${this.base} with status ${response.status} is no sealed door. Check the URL.`,
          { status: response.status },
        )
      );
    }
    const answer = new Uint8Array(await response.arrayBuffer());
    if (answer[0] !== WELCOME) throw broken("The door did not say welcome.");
    const id = answer.slice(1, 1 + SESSION_BYTES);
    const about = parsed<AboutDoor>(initiator.read(answer.subarray(1 + SESSION_BYTES)));
    this.#token = token;
    const session: Session = { id, ciphers: initiator.ciphers!, door: "", sent: 0 };
    this.#note(session, about);
    this.#session = session;
    return session;
  }

  /** Go to the door that was named, and use the token that was given from now on. */
  #note(session: Session, about: AboutDoor): void {
    const door = about.door.slice(about.door.lastIndexOf("/") + 1);
    // Answers overtake each other.
    if (session.door === "" || Number(door) > Number(session.door)) session.door = door;
    this.#door = session.door;
    if (about.token && about.token !== this.#token) {
      this.#token = about.token;
      this.#onToken(about.token);
    }
  }

  // -- answers ------------------------------------------------------------------------------------

  async #opened(session: Session, response: Response, opening: Opening): Promise<Response> {
    const reader = response.body!.getReader();
    let body: Uint8Array = NONE;
    /** Open what comes next; whether there is more to come. */
    const read = async (): Promise<boolean> => {
      const { done, value } = await reader.read();
      if (done) opening.finish();
      body = done ? NONE : opening.feed(value);
      return !done;
    };
    const giveUp = () => reader.cancel().catch(() => {});
    try {
      while (opening.head === null) await read();
      const head = parsed<AnswerHead>(opening.head);
      this.#note(session, head);
      const begun = body;
      if (head.status === 204 || head.status === 304) {
        while (await read());
        return new Response(null, { status: head.status, headers: { ...head.headers } });
      }
      const stream = new ReadableStream<Uint8Array>({
        start: (controller) => {
          if (begun.length > 0) controller.enqueue(begun);
        },
        // Whatever is thrown here, whoever reads the stream meets.
        pull: async (controller) => {
          do {
            if (!(await read())) return controller.close();
          } while (body.length === 0);
          controller.enqueue(body);
        },
        cancel: giveUp,
      });
      return new Response(stream as BodyInit, {
        status: head.status,
        headers: { ...head.headers },
      });
    } catch (error) {
      void giveUp();
      throw error;
    }
  }
}

function isSealed(response: Response): boolean {
  const type = response.headers.get("content-type") ?? "";
  return response.ok && response.body !== null && type.startsWith("application/octet-stream");
}

/** The refusal of a door; null for what no door says. */
async function refusalOf(response: Response): Promise<ReuniteError | null> {
  let problem: { code?: string; detail?: string };
  try {
    problem = (await response.json()) as typeof problem;
  } catch {
    return null;
  }
  const { code = "", detail = "The door refused this." } = problem ?? {};
  if (!REFUSALS.includes(code)) return null;
  return new ReuniteError(code, detail, { status: response.status, hasAnswered: true });
}

function headOf(path: string, init: RequestInit): Uint8Array {
  const given = new Headers(init.headers);
  const headers = Object.fromEntries([...given].filter(([name]) => HEADERS.includes(name)));
  return new TextEncoder().encode(JSON.stringify({ method: init.method ?? "GET", path, headers }));
}

async function bytesOf(body: BodyInit | null | undefined): Promise<Uint8Array> {
  if (body === null || body === undefined) return NONE;
  return new Uint8Array(await new Response(body).arrayBuffer());
}

function parsed<Message>(bytes: Uint8Array): Message {
  return JSON.parse(new TextDecoder().decode(bytes)) as Message;
}

/** What a token says: which one it is, and the secret. Throws `bad-request`. */
export function parseToken(token: string): { keyId: Uint8Array; secret: Uint8Array } {
  const [keyId, secret, ...more] = token.split(".").map(fromText);
  if (keyId?.length === KEY_ID_BYTES && secret?.length === KEY_BYTES && more.length === 0) {
    return { keyId, secret };
  }
  const message = "This is no token of a sealed door: it has another form. Ask the door for one.";
  throw new ReuniteError("bad-request", message, { path: "token" });
}

function fromText(text: string): Uint8Array {
  try {
    const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
  } catch {
    return NONE;
  }
}

/** Where the doors are, and which one was named. */
function placeOf(url: string): { base: string; door: string } {
  let parsedUrl: URL;
  try {
    parsedUrl = new URL(url, globalThis.location?.href);
  } catch (cause) {
    const message = `'${url}' is no URL of a sealed door.`;
    throw new ReuniteError("bad-request", message, { path: "url", cause });
  }
  const [, path, door] = /^(.*?)\/*(?:\/(\d{3,}))?\/*$/.exec(parsedUrl.pathname)!;
  return { base: `${parsedUrl.origin}${path}/`, door: door ?? "001" };
}
