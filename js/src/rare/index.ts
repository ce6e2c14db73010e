/**
 * What most visits of a page never need; `load.ts` fetches it when it is first asked for.
 */

export { moveKeys } from "../replica/moving.js";
export { forgetErased, forgetLeft, noteConflicts, park, parkValues } from "../replica/records.js";
export { Repair } from "../replica/repair.js";
export { madeAnew, refuseMisfits, reshapingsOf } from "../replica/reshaping.js";
export { closeGaps, dependents, forgetTables, refuseKeyless } from "../replica/scene.js";
export { takeNewIdentity } from "./identity.js";
export { polled } from "./polling.js";
export { PROCESS_LOCKS } from "./process_locks.js";
