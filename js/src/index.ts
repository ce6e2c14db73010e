/**
 * reunite in the browser: the tables of a hub in IndexedDB, live and writable without a network.
 *
 *     import { connect } from "reunite";
 *     const db = await connect("https://shop.example/sync", { token });
 *     await db.table("sale").create({ id: "s1", total: "12.00" });
 *     db.table("sale").live((rows) => render(rows));
 */

export { type ConnectOptions, connect } from "./client/connect.js";
export { Database } from "./client/database.js";
export type { FormOptions, KeyLike, RowObject } from "./client/forms.js";
export type { Condition } from "./client/query.js";
export type { Conflict, ParkedChange, PendingChange } from "./client/shown.js";
export type { Events, Status } from "./client/status.js";
export type { StorageStatus } from "./client/storage.js";
export { Query, TableHandle } from "./client/table.js";
export type { Transaction } from "./client/transaction.js";
export { isError, ReuniteError } from "./errors.js";
export type { Carriage, Carrier, Fetch, Token } from "./net/transport.js";
export type { Expression } from "./protocol/messages.js";
export type { Progress } from "./replica/conversation.js";
export type { SyncReport } from "./replica/driver.js";
