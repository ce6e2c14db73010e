/** How a database of a page stands, what it tells, and what it is told. */

import type { ReuniteError } from "../errors.js";
import type { Phase, Times } from "../net/keeper.js";
import type { Locks } from "../net/tabs.js";
import type { Progress } from "../replica/conversation.js";
import type { Device } from "../replica/writing.js";
import type { FormOptions } from "./forms.js";
import type { Conflict, ParkedChange } from "./shown.js";
import type { StorageStatus } from "./storage.js";

/** How a replica stands. The same object until something is different. */
export interface Status {
  /** `live`, or `polling` where streams do not come through; `offline` with `error`; `idle` if it
   * was connected with `live: false`. */
  readonly phase: Phase | "idle";
  readonly error: ReuniteError | null;
  /** Changes that no checkpoint of the hub has covered yet. */
  readonly pending: number;
  /** Changes that the hub refused and nobody has looked after. */
  readonly parked: number;
  /** Conflicts that a person must decide. */
  readonly openConflicts: number;
  /** Tables whose rows were chosen by a column that the hub does not show any more: they have no
   * rows. Connect with another choice. */
  readonly staleChoices: readonly string[];
  /** When the hub was last heard from, null if never. */
  readonly syncedAt: Date | null;
  /** Whether this tab does the network for all tabs. */
  readonly isLeader: boolean;
  /** The room for this page's origin, looked at twice a minute at most; null where browsers do not
   * say. */
  readonly storage: StorageStatus | null;
}

/** What can be listened to. */
export interface Events {
  status: Status;
  conflict: Conflict;
  rejected: ParkedChange;
  progress: Progress;
  /** Something failed that nobody waits for. */
  error: ReuniteError;
}

/** What a database is told when it is made. */
export interface Settings {
  readonly name: string;
  readonly label: string;
  readonly forms: FormOptions;
  readonly isLive: boolean;
  readonly times: Times;
  readonly device: Device;
  readonly pongMs: number;
  readonly locks: Locks;
}
