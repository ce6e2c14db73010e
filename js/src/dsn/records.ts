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

/** What names begin with that are no tables or fields of the page's. */
const OWN = "dsn_sync_";

const KEY_LENGTH_MAX = 255;

/** Whether a page may see a table of this name. */
export function isTableOfRecords(name: string): boolean {
  return !String(name).startsWith(OWN);
}

/** A record's key. Throws TypeError for what the backend would not take. */
export function keyOf(given: unknown): string {
  const key = String(given);
  const length = [...key].length;
  if (length > 0 && length <= KEY_LENGTH_MAX && !key.includes("\0")) return key;
  throw new TypeError(`A key is a text of 1 to ${KEY_LENGTH_MAX} characters.`);
}

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

/** Fields as a row holds them; the key's own field is left out. Throws TypeError for what is no
 * record, and for what JSON has no form for. */
export function textsOf(data: object, key: string, keyField: string): Record<string, string> {
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    throw new TypeError("A record is an object of its fields.");
  }
  const members = Object.entries(data).filter(([name]) => name !== keyField);
  const own = members.find(([name]) => name.startsWith(OWN));
  if (own !== undefined) throw new TypeError(`A record has no field '${own[0]}'.`);
  const said = (data as DsnRecord)[keyField];
  if (Object.hasOwn(data, keyField) && said !== undefined && String(said) !== key) {
    throw new TypeError(`The field '${keyField}' is the key: it is '${key}', not '${said}'.`);
  }
  const texts = members.map(([name, value]) => [name, JSON.stringify(value)] as const);
  return Object.fromEntries(texts.filter(([, text]) => text !== undefined));
}
