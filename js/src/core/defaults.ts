/**
 * Defaults of columns: what a hub's SQL text means, where that can be told without a database.
 */

import type { Column } from "./schema.js";
import type { Value } from "./values.js";

/** The value of a column that was left out: its default, null without one. Undefined for one that
 * only the hub can work out. */
export function defaultOf(column: Column, now: Date): Value | undefined {
  let text = (column.default ?? "null").trim();
  while (text.startsWith("(") && text.endsWith(")")) text = text.slice(1, -1).trim();
  text = text.replace(/::[a-z ]+(\([0-9, ]*\))?$/i, ""); // PostgreSQL writes 'open'::text
  const quoted = /^'((?:[^']|'')*)'$/s.exec(text)?.[1]?.replaceAll("''", "'");
  const instant = now.toISOString();
  switch (text.toLowerCase()) {
    case "null":
      return null;
    case "true":
    case "false":
      return text.toLowerCase() === "true";
    case "current_timestamp":
    case "now()":
      return column.type === "datetime" ? `${instant.slice(0, -1)}000Z` : undefined;
    case "current_date":
      return column.type === "date" ? instant.slice(0, 10) : undefined;
  }
  switch (column.type) {
    case "integer":
    case "real":
      return /^[+-]?[0-9]+(\.[0-9]+)?$/.test(text) && Number.isFinite(Number(text))
        ? Number(text)
        : undefined;
    case "boolean":
      return text === "0" || text === "1" ? text === "1" : undefined;
    case "decimal":
      return /^[+-]?[0-9]+(\.[0-9]+)?$/.test(quoted ?? text) ? (quoted ?? text) : undefined;
    case "json":
      return quoted === undefined ? undefined : parsed(quoted);
    case "blob":
      return undefined;
    default:
      return quoted;
  }
}

function parsed(text: string): Value | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
