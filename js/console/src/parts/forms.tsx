/**
 * Filters, dialogs and buttons that ask first.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { goAsking, useAddress } from "../address.js";
import { useDeed } from "../asking.js";
import { useWhyNot } from "../session.js";
import { Trouble } from "./answers.js";

const TYPING_MS = 300;

/** A text that narrows a list; it stands in the address. */
export function TextFilter({
  name,
  label,
  type = "search",
}: {
  name: string;
  label: string;
  type?: string;
}) {
  const { query } = useAddress();
  const asked = query.get(name) ?? "";
  const [text, setText] = useState(asked);
  useEffect(() => setText(asked), [asked]);
  useEffect(() => {
    if (text === asked) return;
    const timer = setTimeout(() => goAsking({ [name]: text || null }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, asked, name]);
  return (
    <label>
      {label}
      <input
        type={type}
        value={text}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </label>
  );
}

/** One of several, or all of them. */
export function ChoiceFilter({
  name,
  label,
  options,
  all = "all",
}: {
  name: string;
  label: string;
  options: readonly (string | readonly [string, string])[];
  all?: string | null;
}) {
  const { query } = useAddress();
  return (
    <label>
      {label}
      <select
        value={query.get(name) ?? ""}
        onChange={(event) => goAsking({ [name]: event.currentTarget.value || null })}
      >
        {all !== null && <option value="">{all}</option>}
        {options.map((option) => {
          const [value, text] = typeof option === "string" ? [option, option] : option;
          return <option value={value}>{text}</option>;
        })}
      </select>
    </label>
  );
}

/** A moment, to the minute, in this browser's own time; in the address it is milliseconds. */
function TimeFilter({ name, label }: { name: string; label: string }) {
  const { query } = useAddress();
  const ms = Number(query.get(name) ?? "");
  const local = ms ? new Date(ms - new Date(ms).getTimezoneOffset() * 60_000) : null;
  return (
    <label>
      {label}
      <input
        type="datetime-local"
        value={local ? local.toISOString().slice(0, 16) : ""}
        onChange={(event) => {
          const text = event.currentTarget.value;
          goAsking({ [name]: text ? String(new Date(text).getTime()) : null });
        }}
      />
    </label>
  );
}

/** From when until when. */
export function SpanFilter() {
  return (
    <>
      <TimeFilter name="since_ms" label="From" />
      <TimeFilter name="until_ms" label="Until" />
    </>
  );
}

/** One text that narrows a list. */
export function NameFilter({ name, label }: { name: string; label: string }) {
  return (
    <Filters>
      <TextFilter name={name} label={label} />
    </Filters>
  );
}

export function Filters({ children }: { children: ComponentChildren }) {
  return (
    <form
      class="filters"
      role="search"
      aria-label="Filters"
      onSubmit={(event) => event.preventDefault()}
    >
      {children}
    </form>
  );
}

/** A button for what changes something: off, with the reason, for those who may not. */
export function DoButton({
  children,
  onClick,
  class: name = "small",
  whyNot = null,
  isBusy = false,
  label,
}: {
  children: ComponentChildren;
  onClick: () => void;
  class?: string;
  whyNot?: string | null;
  isBusy?: boolean;
  label?: string;
}) {
  const mayNot = useWhyNot() ?? whyNot;
  return (
    <button
      type="button"
      class={name}
      disabled={mayNot !== null || isBusy}
      aria-busy={isBusy}
      {...(mayNot !== null && { title: mayNot })}
      {...(label && { "aria-label": label })}
      onClick={onClick}
    >
      {children}
    </button>
  );
}

/** A dialog; it is there as long as its parent shows it. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={onClose}>
      <article>
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="small plain" aria-label="Close" onClick={onClose}>
            ✕
          </button>
        </header>
        {children}
      </article>
    </dialog>
  );
}

/** A form in a dialog: `save` does it and the dialog closes; what is refused is shown in it. */
export function FormDialog({
  title,
  action,
  save,
  onClose,
  children,
  isDanger = false,
}: {
  title: string;
  action: string;
  save: (form: FormData) => Promise<void>;
  onClose: () => void;
  children: ComponentChildren;
  isDanger?: boolean;
}) {
  const deed = useDeed();
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget as HTMLFormElement);
          if (await deed.run(() => save(form))) onClose();
        }}
      >
        {children}
        {deed.problem && <Trouble problem={deed.problem} />}
        <footer>
          <button type="button" class="secondary" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            class={isDanger ? "danger" : ""}
            aria-busy={deed.isBusy}
            disabled={deed.isBusy}
          >
            {action}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

/** A button that asks whether it is meant. */
export function AskingButton({
  children,
  title,
  text,
  deed,
  label,
  whyNot = null,
  isDanger = true,
}: {
  children: string;
  title: string;
  text: ComponentChildren;
  deed: () => Promise<void>;
  label?: string;
  whyNot?: string | null;
  isDanger?: boolean;
}) {
  const [isOpen, setIsOpen] = useState(false);
  return (
    <>
      <DoButton
        class={`small ${isDanger ? "danger" : "secondary"}`}
        whyNot={whyNot}
        onClick={() => setIsOpen(true)}
        {...(label && { label })}
      >
        {children}
      </DoButton>
      {isOpen && (
        <FormDialog
          title={title}
          action={children}
          isDanger={isDanger}
          save={deed}
          onClose={() => setIsOpen(false)}
        >
          <p>{text}</p>
        </FormDialog>
      )}
    </>
  );
}

/** A field of a form. */
export function Field({
  name,
  label,
  value = "",
  type = "text",
  isNeeded = false,
  hint,
}: {
  name: string;
  label: string;
  value?: string;
  type?: string;
  isNeeded?: boolean;
  hint?: string;
}) {
  const id = useId();
  return (
    <label>
      {label}
      <input
        name={name}
        type={type}
        defaultValue={value}
        required={isNeeded}
        autocomplete={type === "password" ? "new-password" : "off"}
        spellcheck={false}
        {...(hint && { "aria-describedby": id })}
      />
      {hint && <small id={id}>{hint}</small>}
    </label>
  );
}

/** One of several, in a form. */
export function Choice({
  name,
  label,
  of,
}: {
  name: string;
  label: string;
  of: readonly (readonly [string, string])[];
}) {
  return (
    <label>
      {label}
      <select name={name}>
        {of.map(([value, text]) => (
          <option value={value}>{text}</option>
        ))}
      </select>
    </label>
  );
}

/** Yes or no, in a form. */
export function Check({ name, label, isOn }: { name: string; label: string; isOn: boolean }) {
  return (
    <label>
      <input type="checkbox" name={name} defaultChecked={isOn} /> {label}
    </label>
  );
}
