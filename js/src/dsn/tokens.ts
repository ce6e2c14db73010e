/**
 * The token that a door gave in place of the one that the page has, for the next visit.
 *
 * It is kept encrypted, under a key that the browser keeps and lets nobody read. Where there is no
 * such thing (pages on plain HTTP, Node) nothing is kept, and the page's own token has to do.
 */

const NAME = "reunite dsn tokens";
const STORE = "token";

interface Kept {
  readonly key: CryptoKey;
  readonly iv: Uint8Array;
  readonly data: ArrayBuffer;
}

export class Tokens {
  #last: string | null = null;

  /** `given` is the page's own token. */
  constructor(private readonly given: string) {}

  /** The token to say hello with: the kept one first; asked again, the page's own. */
  readonly next = async (): Promise<string> => {
    const kept = await this.#read().catch(() => null);
    this.#last = kept !== null && kept !== this.#last ? kept : this.given;
    return this.#last;
  };

  /** Keep the token that the door gave. */
  readonly keep = (token: string): void => {
    this.#last = token;
    void this.#write(token).catch(() => {});
  };

  /** Tokens are known by the id of the page's own, which is no secret. */
  get #place(): string {
    return this.given.split(".")[0]!;
  }

  async #read(): Promise<string | null> {
    const found = await inStore<Kept | undefined>("readonly", (store) => store.get(this.#place));
    if (found === undefined) return null;
    const { key, iv, data } = found;
    const plain = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: iv as BufferSource },
      key,
      data,
    );
    return new TextDecoder().decode(plain);
  }

  async #write(token: string): Promise<void> {
    if (globalThis.crypto?.subtle === undefined) return;
    const algorithm = { name: "AES-GCM", length: 256 };
    const key = await crypto.subtle.generateKey(algorithm, false, ["encrypt", "decrypt"]);
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const plain = new TextEncoder().encode(token);
    const data = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, plain);
    await inStore("readwrite", (store) => store.put({ key, iv, data }, this.#place));
  }
}

function inStore<Result>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      try {
        const transaction = database.transaction(STORE, mode);
        const asking = work(transaction.objectStore(STORE));
        transaction.oncomplete = () => resolve(asking.result as Result);
        transaction.onabort = () => reject(transaction.error);
      } catch (error) {
        reject(error);
      } finally {
        database.close();
      }
    };
  });
}
