/**
 * dsn-sync's client: a page and the tables of a backend with `DSNSync`, through a sealed door.
 *
 *     import { connectDSN } from "reunite";
 *     const client = connectDSN("https://localhost:3000/sync/001", token);
 *     client.onDataChange("users", (users) => render(Object.values(users)));
 *     await client.create("users", "user_4", { name: "Alice" });      // true when it is stored
 */

import { DsnClient, type DsnOptions } from "./client.js";

export type { DsnOptions } from "./client.js";
export type { DsnRecord } from "./records.js";
export type { Refusal } from "./waiting.js";
export type { DsnClient };

/** Connect to a backend: `url` and `token` are what its `get_url()` and `get_token()` say. Returns at
 * once; what is called before the connection stands waits for it. */
export function connectDSN(url: string, token: string, options: DsnOptions = {}): DsnClient {
  return new DsnClient(url, token, options);
}
