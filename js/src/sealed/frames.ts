/**
 * What passes a sealed door, byte by byte.
 *
 *     hello       01 | key id (8) | the handshake's first message
 *     welcome     02 | session id (16) | the handshake's second message
 *     request     03 | session id (16) | frames
 *     answer      frames
 *
 *     frame       length (2) | number (8) | sealed text of `length` bytes
 *     text        00 or, in the last frame of a request or answer, 01 | the next of its bytes
 *     bytes       length of the head (4) | head, JSON | body
 *
 * Twin of `src/reunite/server/sealed/frames.py`.
 * The rule: a frame is bound to its session, direction, request and place, so nobody can leave one
 * out, swap two, cut the end off, or give the answer to another request.
 */

import { type Bytes, broken, type Cipher, joined, NONE, numbers } from "./noise.js";

export const HELLO = 1;
export const WELCOME = 2;
export const REQUEST = 3;
export const KEY_ID_BYTES = 8;
export const SESSION_BYTES = 16;

const FRAME_BYTES = 10;
const TEXT_BYTES_MAX = 65_535 - 16 - 1;
const HEAD_BYTES_MAX = 60_000;
const LAST = 1;

/** The frames of one request, whose head and body are there. `takeNumber` gives the next number of
 * this end's direction, once for each frame; none may be taken in between. */
export function sealRequest(
  cipher: Cipher,
  takeNumber: () => number,
  session: Uint8Array,
  head: Uint8Array,
  body: Uint8Array,
): { readonly request: number; readonly frames: Bytes } {
  const bytes = joined(numbers([head.length, 4]), head, body);
  const frames: Uint8Array[] = [];
  let request = -1;
  for (let at = 0; at < bytes.length; at += TEXT_BYTES_MAX) {
    const number = takeNumber();
    if (request === -1) request = number;
    const isLast = at + TEXT_BYTES_MAX >= bytes.length;
    const text = joined(Uint8Array.of(isLast ? LAST : 0), bytes.subarray(at, at + TEXT_BYTES_MAX));
    const place = boundTo("request", session, request, number - request);
    const sealed = cipher.seal(number, text, place);
    frames.push(numbers([sealed.length, 2], [number, 8]), sealed);
  }
  return { request, frames: joined(...frames) };
}

/** Opens the frames of one answer, as their bytes arrive. */
export class Opening {
  #waiting: Uint8Array = NONE;
  #index = 0;
  #isComplete = false;
  /** The head, as soon as all of it was opened. */
  head: Uint8Array | null = null;

  readonly #cipher: Cipher;
  readonly #session: Uint8Array;
  readonly #request: number;

  /** `request` is the number of the request's first frame. */
  constructor(cipher: Cipher, session: Uint8Array, request: number) {
    this.#cipher = cipher;
    this.#session = session;
    this.#request = request;
  }

  /** What of the body there is by now. Throws `seal-broken` for a frame that was altered, left out,
   * said before, meant for another request, or that follows the last one. */
  feed(bytes: Uint8Array): Uint8Array {
    this.#waiting = joined(this.#waiting, bytes);
    const view = new DataView(this.#waiting.buffer);
    const texts: Uint8Array[] = [];
    let at = 0;
    while (this.#waiting.length - at >= FRAME_BYTES) {
      const end = at + FRAME_BYTES + view.getUint16(at);
      if (end > this.#waiting.length) break;
      const number = Number(view.getBigUint64(at + 2));
      texts.push(this.#open(number, this.#waiting.subarray(at + FRAME_BYTES, end)));
      at = end;
    }
    this.#waiting = this.#waiting.slice(at);
    return this.#withoutHead(joined(...texts));
  }

  /** All bytes were fed. Throws `seal-broken` if some are missing. */
  finish(): void {
    if (!this.#isComplete || this.#waiting.length > 0 || this.head === null) {
      throw broken("The answer was cut short.");
    }
  }

  #open(number: number, sealed: Uint8Array): Uint8Array {
    if (this.#isComplete) throw broken("Something follows the last frame.");
    const place = boundTo("answer", this.#session, this.#request, this.#index);
    const text = this.#cipher.open(number, sealed, place);
    this.#index += 1;
    this.#isComplete = text[0] === LAST;
    return text.subarray(1);
  }

  #opened: Uint8Array = NONE;

  #withoutHead(text: Uint8Array): Uint8Array {
    if (this.head !== null) return text;
    this.#opened = joined(this.#opened, text);
    if (this.#opened.length < 4) return NONE;
    const length = new DataView(this.#opened.buffer).getUint32(0);
    if (length > HEAD_BYTES_MAX) throw broken("The head is too long.");
    if (this.#opened.length < 4 + length) return NONE;
    this.head = this.#opened.slice(4, 4 + length);
    return this.#opened.slice(4 + length);
  }
}

/** What is authenticated with a frame: where it belongs. */
export function boundTo(
  direction: "request" | "answer",
  session: Uint8Array,
  request: number,
  index: number,
): Bytes {
  return joined(new TextEncoder().encode(direction), session, numbers([request, 8], [index, 4]));
}
