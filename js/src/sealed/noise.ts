/**
 * The Noise handshake NNpsk0 with X25519, AES-256-GCM and SHA-256, as published.
 *
 *     -> psk, e          the initiator's message, under the pre-shared key
 *     <- e, ee           the responder's; from here on both have two keys that nobody else has
 *
 * Twin of `src/reunite/server/sealed/noise.py`, which says what it gives and what it does not. The
 * primitives are those of the audited noble libraries: they need no WebCrypto, which pages on plain
 * HTTP do not have.
 * Source: The Noise Protocol Framework, revision 34, sections 5, 7 and 9.
 */

import { gcm } from "@noble/ciphers/aes.js";
import { x25519 } from "@noble/curves/ed25519.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { ReuniteError } from "../errors.js";

export type Bytes = Uint8Array<ArrayBuffer>;

const PROTOCOL_NAME = new TextEncoder().encode("Noise_NNpsk0_25519_AESGCM_SHA256");

export const KEY_BYTES = 32;
export const TAG_BYTES = 16;
export const MESSAGE_BYTES_MAX = 65_535;
export const NONE: Bytes = new Uint8Array(0);

/** A message is no part of this conversation: another key, altered, cut, or out of turn. */
export function broken(what: string, cause?: unknown): ReuniteError {
  return new ReuniteError("seal-broken", `${what} Nothing of it was believed; try again.`, {
    cause,
  });
}

/** Several pieces of bytes as one. */
export function joined(...parts: Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** `count` numbers of `bytes` bytes each, big-endian. */
export function numbers(...given: (readonly [value: number, bytes: 2 | 4 | 8])[]): Bytes {
  const view = new DataView(new ArrayBuffer(given.reduce((sum, [, bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [value, bytes] of given) {
    if (bytes === 2) view.setUint16(at, value);
    else if (bytes === 4) view.setUint32(at, value);
    else view.setBigUint64(at, BigInt(value));
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

/** One direction of a conversation, after the handshake. */
export class Cipher {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** Encrypt; `number` may be used once for this key. `bound` is authenticated with it. */
  seal(number: number, text: Uint8Array, bound: Uint8Array = NONE): Uint8Array {
    return gcm(this.#key, nonceOf(number), bound).encrypt(text);
  }

  /** Decrypt. Throws `seal-broken` if it was not sealed with this key, number and `bound`. */
  open(number: number, sealed: Uint8Array, bound: Uint8Array = NONE): Uint8Array {
    try {
      return gcm(this.#key, nonceOf(number), bound).decrypt(sealed);
    } catch (cause) {
      throw broken("The seal is broken.", cause);
    }
  }
}

/** The nonce of message `number` (from 0 on): 4 zero bytes, 8 bytes big-endian. */
function nonceOf(number: number): Bytes {
  return numbers([0, 4], [number, 8]);
}

/** Both directions, as one end has them. */
export interface Ciphers {
  readonly sending: Cipher;
  readonly receiving: Cipher;
}

/** What both ends mix from everything that was said (section 5.2). */
class Symmetric {
  hash: Uint8Array;
  #chaining: Uint8Array;
  #cipher: Cipher;
  #number = 0;

  constructor(prologue: Uint8Array, psk: Uint8Array) {
    if (psk.length !== KEY_BYTES) throw new RangeError("A pre-shared key has 32 bytes.");
    // The name has just the length of a hash, so it is the first one.
    this.hash = sha256(joined(PROTOCOL_NAME, prologue));
    const [chaining, mixed, key] = expand(PROTOCOL_NAME, psk, 3);
    this.#chaining = chaining!;
    this.mixHash(mixed!);
    this.#cipher = new Cipher(key!);
  }

  mixHash(bytes: Uint8Array): void {
    this.hash = sha256(joined(this.hash, bytes));
  }

  mixKey(material: Uint8Array): void {
    const [chaining, key] = expand(this.#chaining, material, 2);
    this.#chaining = chaining!;
    this.#cipher = new Cipher(key!);
    this.#number = 0;
  }

  /** A public key on its way; patterns with a psk mix it into the key too (section 9.2). */
  mixPublic(key: Uint8Array): void {
    this.mixHash(key);
    this.mixKey(key);
  }

  seal(text: Uint8Array): Uint8Array {
    const sealed = this.#cipher.seal(this.#number++, text, this.hash);
    this.mixHash(sealed);
    return sealed;
  }

  open(sealed: Uint8Array): Uint8Array {
    const text = this.#cipher.open(this.#number++, sealed, this.hash);
    this.mixHash(sealed);
    return text;
  }

  /** The initiator's direction, and the responder's. */
  split(): [Cipher, Cipher] {
    const [first, second] = expand(this.#chaining, NONE, 2);
    return [new Cipher(first!), new Cipher(second!)];
  }
}

/** One end of a handshake: the initiator writes, then reads; the responder reads, then writes. */
abstract class End {
  protected readonly symmetric: Symmetric;
  protected readonly ephemeral: Uint8Array;
  ciphers: Ciphers | null = null;

  /** `psk`: 32 bytes that both ends have; `ephemeral`: 32 random bytes, for this handshake only;
   * `prologue`: what both ends must agree on besides, such as the name of the key. */
  constructor(psk: Uint8Array, ephemeral: Uint8Array, prologue: Uint8Array = NONE) {
    this.symmetric = new Symmetric(prologue, psk);
    this.ephemeral = ephemeral;
  }

  /** The hash of everything that was said; the same at both ends after the handshake. */
  get hash(): Uint8Array {
    return this.symmetric.hash;
  }

  protected mixShared(theirs: Uint8Array): void {
    try {
      this.symmetric.mixKey(x25519.getSharedSecret(this.ephemeral, theirs));
    } catch (cause) {
      // A point of low order: the result would be no secret.
      throw broken("The public key is none.", cause);
    }
  }
}

export class Initiator extends End {
  /** The first message. Its payload must not act: it can be replayed. */
  write(payload: Uint8Array = NONE): Bytes {
    const mine = x25519.getPublicKey(this.ephemeral);
    this.symmetric.mixPublic(mine);
    return joined(mine, this.symmetric.seal(payload));
  }

  /** The payload of the answer. Throws `seal-broken`. */
  read(message: Uint8Array): Uint8Array {
    const [theirs, sealed] = parts(message);
    this.symmetric.mixPublic(theirs);
    this.mixShared(theirs);
    const payload = this.symmetric.open(sealed);
    const [sending, receiving] = this.symmetric.split();
    this.ciphers = { sending, receiving };
    return payload;
  }
}

/** The end that answers; clients are never one, tests are. */
export class Responder extends End {
  #theirs: Uint8Array = NONE;

  /** The payload of the first message. Throws `seal-broken`. */
  read(message: Uint8Array): Uint8Array {
    const [theirs, sealed] = parts(message);
    this.#theirs = theirs;
    this.symmetric.mixPublic(theirs);
    return this.symmetric.open(sealed);
  }

  /** The answer. Throws `seal-broken` if the initiator's public key is none. */
  write(payload: Uint8Array = NONE): Bytes {
    const mine = x25519.getPublicKey(this.ephemeral);
    this.symmetric.mixPublic(mine);
    this.mixShared(this.#theirs);
    const sealed = this.symmetric.seal(payload);
    const [receiving, sending] = this.symmetric.split();
    this.ciphers = { sending, receiving };
    return joined(mine, sealed);
  }
}

function parts(message: Uint8Array): [Uint8Array, Uint8Array] {
  if (message.length < KEY_BYTES + TAG_BYTES || message.length > MESSAGE_BYTES_MAX) {
    throw broken("The message has not the length of a handshake.");
  }
  return [message.slice(0, KEY_BYTES), message.slice(KEY_BYTES)];
}

/** HKDF as Noise has it (section 4.3): `count` outputs of 32 bytes. */
function expand(chaining: Uint8Array, material: Uint8Array, count: number): Uint8Array[] {
  const key = hmac(sha256, chaining, material);
  const outputs: Uint8Array[] = [];
  for (let index = 1; index <= count; index += 1) {
    outputs.push(hmac(sha256, key, joined(outputs.at(-1) ?? NONE, Uint8Array.of(index))));
  }
  return outputs;
}
