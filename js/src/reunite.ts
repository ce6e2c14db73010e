/** The npm package: what hubs serve to pages, and the client of dsn-sync's backends. */

export * from "./dsn/index.js";
export * from "./index.js";
