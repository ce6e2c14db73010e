/**
 * The console: somebody logs in, and sees the page that the address names.
 */

import { useEffect, useState } from "preact/hooks";
import { address } from "./address.js";
import { type Login, logInByCode, openSession, Problem, type Session, whenLeft } from "./api.js";
import { asProblem } from "./asking.js";
import { LoginForm } from "./login.js";
import { follow } from "./news.js";
import { Trouble } from "./parts/answers.js";
import { SessionContext } from "./session.js";
import { Shell } from "./shell.js";

type State =
  | { readonly is: "beginning" }
  | { readonly is: "in"; readonly session: Session }
  | { readonly is: "out"; readonly login: Login; readonly why: string | null }
  | { readonly is: "failed"; readonly problem: Problem };

export function App() {
  const [state, setState] = useState<State>({ is: "beginning" });
  const begin = async () => {
    try {
      setState({ is: "in", session: await enter() });
    } catch (error) {
      const problem = asProblem(error);
      const login = problem.body.login as Login | undefined;
      if (problem.status !== 401) return setState({ is: "failed", problem });
      const why = hadCode
        ? "That link was used already, or is too old. Log in with a password, or print a new link."
        : null;
      setState({ is: "out", login: login ?? { password: true, url: null }, why });
    }
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once
  useEffect(() => {
    whenLeft((login) => {
      setState((before) =>
        before.is === "in"
          ? { is: "out", login, why: "Your session is over: log in again." }
          : before,
      );
    });
    void begin();
  }, []);
  const session = state.is === "in" ? state.session : null;
  useEffect(() => (session ? follow(session) : undefined), [session]);
  if (state.is === "beginning")
    return (
      <p class="alone" role="status">
        Loading the console…
      </p>
    );
  if (state.is === "failed") {
    return (
      <main class="alone">
        <h1>The console cannot begin</h1>
        <Trouble problem={state.problem} again={() => void begin()} />
      </main>
    );
  }
  if (state.is === "out") {
    return (
      <LoginForm
        login={state.login}
        why={state.why}
        onIn={(known) => setState({ is: "in", session: known })}
      />
    );
  }
  return (
    <SessionContext.Provider value={state.session}>
      <Shell
        onOut={() => setState({ is: "out", login: { password: true, url: null }, why: null })}
      />
    </SessionContext.Provider>
  );
}

let hadCode = false;

/** Enter with the code of a printed link, if the address has one, or with the session at hand. */
async function enter(): Promise<Session> {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code === null) return openSession();
  hadCode = true;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return await logInByCode(code);
  } catch (error) {
    // A page that is loaded again has its session, and the used code.
    if (error instanceof Problem && error.status === 401) return openSession();
    throw error;
  }
}

// Where the page began, for a host that logs people in itself.
export const begunAt = address();
