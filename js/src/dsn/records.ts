/**
 * Records of named fields, as the rows of a DSNSync's tables hold them.
 *
 * Twin of `src/reunite/dropin/dsn_sync/records.py`: each field is a column of JSON text, null where
 * the record has no such field.
 */

/** What a backend and its pages exchange: fields by name, any JSON in them. */
export type DsnRecord = Record<string, unknown>;

type Row = Readonly<Record<string, unknown>>;

export const KEY = "dsn_sync_key";
export const MADE = "dsn_sync_made";

/** The table that says what tables there are. */
export const TABLES = "dsn_sync_tables";

/** A row's fields as values, without its key. */
export function recordOf(row: Row): DsnRecord {
  const fields = Object.entries(row).filter(
    ([name, text]) => text !== null && name !== KEY && name !== MADE,
  );
  return Object.fromEntries(fields.map(([name, text]) => [name, JSON.parse(text as string)]));
}

/** Rows as one object of records by their keys. */
export function recordsOf(rows: readonly Row[]): Record<string, DsnRecord> {
  return Object.fromEntries(rows.map((row) => [row[KEY] as string, recordOf(row)]));
}

/** Fields as a row holds them; the key's own field is left out. Throws TypeError for what JSON has
 * no form for. */
export function textsOf(data: object, keyField: string | null): Record<string, string> {
  const members = Object.entries(data).filter(([name]) => name !== keyField);
  const texts = members.map(([name, value]) => [name, JSON.stringify(value)] as const);
  return Object.fromEntries(texts.filter(([, text]) => text !== undefined));
}
