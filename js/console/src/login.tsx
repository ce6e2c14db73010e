/** Logging in: with a password of the hub's directory, or where the host does it. */

import { useEffect, useRef } from "preact/hooks";
import { type Login, logIn, type Session } from "./api.js";
import { useDeed } from "./asking.js";
import { Trouble } from "./parts/answers.js";
import { Field } from "./parts/forms.js";

export function LoginForm({
  login,
  why,
  onIn,
}: {
  login: Login;
  why: string | null;
  onIn: (session: Session) => void;
}) {
  const deed = useDeed();
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    document.title = "Log in · reunite";
    form.current?.querySelector("input")?.focus();
  }, []);
  const logged = async (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(given.get(name) ?? "");
    await deed.run(async () => onIn(await logIn(text("user"), text("password"))));
  };
  return (
    <main class="alone">
      <h1>reunite console</h1>
      {why && <p role="status">{why}</p>}
      {login.url !== null && (
        <p>
          <a class="button" href={login.url} target="_self">
            Log in
          </a>
        </p>
      )}
      {login.url === null && !login.password && (
        <p>Open the console with a link that the hub printed, or ask whoever runs it for one.</p>
      )}
      {login.password && (
        <form ref={form} onSubmit={logged}>
          <Field name="user" label="User" isNeeded />
          <label>
            Password
            <input name="password" type="password" required autocomplete="current-password" />
          </label>
          {deed.problem && <Trouble problem={deed.problem} />}
          <button type="submit" aria-busy={deed.isBusy} disabled={deed.isBusy}>
            Log in
          </button>
          <small>
            For users whose roles include <code>console:read</code> or <code>console:write</code>.
          </small>
        </form>
      )}
    </main>
  );
}
