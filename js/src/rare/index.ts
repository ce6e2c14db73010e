/**
 * What most visits of a page never need; `load.ts` fetches it when it is first asked for.
 */

export { changeSchemas } from "../replica/changing.js";
export { Cloning } from "../replica/cloning.js";
export { moveKeys } from "../replica/moving.js";
export { nextPart } from "../replica/parts.js";
export { forgetErased, forgetLeft, noteConflicts, park } from "../replica/records.js";
export { keysFor, keysInTheWay } from "../replica/regiving.js";
export { Repair } from "../replica/repair.js";
export { closeGaps, dependents, refuseKeyless } from "../replica/scene.js";
export { giveUpFirst, heal, readAnew, schemasOf } from "./driving.js";
export { generationsOfNew } from "./generations.js";
export { takeNewIdentity } from "./identity.js";
export { polled } from "./polling.js";
export { PROCESS_LOCKS } from "./process_locks.js";
