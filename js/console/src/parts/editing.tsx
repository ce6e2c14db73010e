/** Lists whose entries people make, change and remove, each in a dialog that says what was refused. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { tell, urlOf } from "../api.js";
import type { AskedList } from "../asking.js";
import { type Column, Rows } from "./answers.js";
import { AskingButton, DoButton, FormDialog } from "./forms.js";
import { say } from "./notes.js";

/** How an entry leaves its list: what the button says, what is asked, and what does it. */
export interface Removal<Item> {
  readonly action?: string;
  readonly title?: (item: Item) => string;
  readonly text: (item: Item) => string;
  readonly done?: (item: Item) => string;
  readonly run: (item: Item) => Promise<void>;
}

/** `fields` and `save` are given the entry that is changed, or null for a new one; without them
 * entries are made elsewhere. Without `canChange` they are made and removed only. `urlOf`: where the
 * hub's host changes it, if it does. */
export function EditedRows<Item>({
  of,
  what,
  caption,
  columns,
  empty,
  whyNot,
  nameOf,
  fields,
  save,
  removal,
  buttons,
  rowButtons,
  action = "Save",
  canChange = true,
  urlOf: placeOf = () => null,
}: {
  of: AskedList<Item, unknown>;
  what: string;
  caption: string;
  columns: readonly Column<Item>[];
  empty: ComponentChildren;
  whyNot: string | null;
  nameOf: (item: Item) => string;
  fields?: (item: Item | null) => ComponentChildren;
  save?: (form: FormData, item: Item | null) => Promise<void>;
  removal: Removal<Item>;
  buttons?: ComponentChildren;
  rowButtons?: (item: Item) => ComponentChildren;
  action?: string;
  canChange?: boolean;
  urlOf?: (item: Item) => string | null | undefined;
}) {
  const [edited, setEdited] = useState<Item | "new" | null>(null);
  const item = edited === "new" ? null : edited;
  const remove = async (one: Item) => {
    await removal.run(one);
    say(removal.done?.(one) ?? `${nameOf(one)} is deleted.`);
    of.again();
  };
  const deeds: Column<Item> = {
    name: "",
    show: (one) =>
      placeOf(one) ? (
        <a
          class="button small secondary"
          href={placeOf(one)!}
          aria-label={`Change ${nameOf(one)} in the admin`}
        >
          Change
        </a>
      ) : (
        <span class="row">
          {rowButtons?.(one)}
          {save && canChange && (
            <DoButton
              class="small secondary"
              whyNot={whyNot}
              label={`Change ${nameOf(one)}`}
              onClick={() => setEdited(one)}
            >
              Change
            </DoButton>
          )}
          <AskingButton
            title={removal.title?.(one) ?? `Delete ${nameOf(one)}?`}
            text={removal.text(one)}
            label={`${removal.action ?? "Delete"} ${nameOf(one)}`}
            whyNot={whyNot}
            deed={() => remove(one)}
          >
            {removal.action ?? "Delete"}
          </AskingButton>
        </span>
      ),
  };
  return (
    <>
      {save && (
        <p class="row">
          <DoButton whyNot={whyNot} onClick={() => setEdited("new")}>
            {`New ${what}`}
          </DoButton>
          {buttons}
        </p>
      )}
      <Rows of={of} caption={caption} columns={[...columns, deeds]} empty={empty} />
      {edited !== null && save && (
        <FormDialog
          title={item === null ? `New ${what}` : `Change ${nameOf(item)}`}
          action={action}
          save={async (form) => {
            await save(form, item);
            of.again();
          }}
          onClose={() => setEdited(null)}
        >
          {fields?.(item)}
        </FormDialog>
      )}
    </>
  );
}

/** A text of a form, without the blanks around it. */
export const textIn = (form: FormData, name: string): string => String(form.get(name) ?? "").trim();

/** Have the hub take something out of a list of its API. */
export const remove = (
  path: string,
  params: Record<string, string>,
  etag: string | null = null,
): Promise<void> => tell("DELETE", urlOf(path, params).slice("api/".length), undefined, etag);
