/**
 * The room that the browser gives this page's origin, and whether it keeps what is there.
 */

/** What the origin's databases take, of how much, in bytes; and whether the browser has promised not
 * to throw them away when it runs out of room. */
export interface StorageStatus {
  readonly used: number;
  readonly quota: number;
  readonly isPersisted: boolean;
}

/** How it stands now; the same object as before if nothing is different, null where browsers do not
 * say, as on pages that are not secure. */
export async function storageNow(before: StorageStatus | null): Promise<StorageStatus | null> {
  const storage = globalThis.navigator?.storage;
  if (!storage?.estimate) return null;
  const { usage: used = 0, quota = 0 } = await storage.estimate();
  const isPersisted = await storage.persisted();
  const isSame =
    used === before?.used && quota === before.quota && isPersisted === before.isPersisted;
  return isSame ? before : { used, quota, isPersisted };
}
