/**
 * The admin API, as the console asks it.
 *
 * The rule: an answer is data, and is only ever shown as text. What the hub refuses is a `Problem`,
 * whose message says what to do.
 */

export interface Session {
  readonly user: string;
  readonly can: readonly string[];
  readonly csrf: { readonly header: string; readonly token: string } | null;
  readonly hub: { readonly epoch: string; readonly version: string; readonly url: string };
  readonly streams: boolean;
  readonly directory: "own" | "host";
  /** What this hub's API has, such as `replicas/{id}`; added here from its own description. */
  readonly has: Pick<ReadonlySet<string>, "has">;
}

/** How to log in: with a password here, or at another address. */
export interface Login {
  readonly password: boolean;
  readonly url: string | null;
}

export interface List<Item> {
  readonly items: readonly Item[];
  readonly next?: string | null;
}

/** What the hub refuses, or that it does not answer (`offline`). `body` has the problem's members. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
    readonly body: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}

export type Params = Readonly<Record<string, string | number | null | undefined>>;

let csrf: Session["csrf"] = null;
let onLeft: (login: Login) => void = () => {};

/** Be told when the session is over. */
export function whenLeft(callback: (login: Login) => void): void {
  onLeft = callback;
}

/** The URL of something below `api/`, for links that download. */
export function urlOf(path: string, params: Params = {}): string {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") asked.set(name, String(value));
  }
  const text = asked.toString();
  return `api/${path}${text && (path.includes("?") ? "&" : "?") + text}`;
}

/** Ask for something. Throws `Problem`. */
export function ask<Answer>(
  path: string,
  params: Params = {},
  signal: AbortSignal | null = null,
): Promise<Answer> {
  return request<Answer>("GET", urlOf(path, params), undefined, null, signal);
}

/** Change something. `etag`: of what was looked at, so that nobody's change is overwritten unseen. */
export function tell<Answer>(
  method: "POST" | "PUT" | "DELETE",
  path: string,
  body?: unknown,
  etag: string | null = null,
): Promise<Answer> {
  return request<Answer>(method, urlOf(path), body, etag, null);
}

export async function openSession(): Promise<Session> {
  return entered(await ask<Session>("session"));
}

export async function logIn(user: string, password: string): Promise<Session> {
  return entered(await tell<Session>("POST", "session", { user, password }));
}

export async function logInByCode(code: string): Promise<Session> {
  return entered(await tell<Session>("POST", "session/code", { code }));
}

async function entered(session: Session): Promise<Session> {
  csrf = session.csrf;
  return { ...session, has: await whatThereIs() };
}

/** The paths of the hub's API. Where its description fails, everything is tried. */
async function whatThereIs(): Promise<Session["has"]> {
  try {
    const { paths } = await ask<{ paths: Readonly<Record<string, unknown>> }>("openapi.json");
    return new Set(Object.keys(paths).map((path) => path.replace(/^\//, "")));
  } catch {
    return { has: () => true };
  }
}

async function request<Answer>(
  method: string,
  url: string,
  body: unknown,
  etag: string | null,
  signal: AbortSignal | null,
): Promise<Answer> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag !== null) headers["If-Match"] = etag;
  if (method !== "GET" && csrf !== null) headers[csrf.header] = csrf.token;
  let response: Response;
  try {
    response = await fetch(new URL(url, document.baseURI), {
      method,
      headers,
      signal,
      credentials: "same-origin",
      redirect: "error",
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("offline", "The hub does not answer. The console tries again by itself.");
  }
  if (response.status === 204) return undefined as Answer;
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer as Answer;
  throw problemOf(response.status, url, answer);
}

function problemOf(status: number, url: string, answer: unknown): Problem {
  const body = (answer ?? {}) as Record<string, unknown>;
  const code = String(body.code ?? "error");
  const incident = body.incident ? ` (incident ${body.incident})` : "";
  const text = String(body.detail ?? body.title ?? `The hub answered with status ${status}.`);
  const problem = new Problem(code, text + incident, status, body);
  if (status === 401 && !url.startsWith("api/session")) {
    onLeft((body.login as Login | undefined) ?? { password: true, url: null });
  }
  return problem;
}
