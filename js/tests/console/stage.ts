/**
 * A hub with a console for tests, and people before it in a real browser.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { BrowserContext, Page } from "playwright-core";

const ROOT = join(import.meta.dirname, "../../..");
const PYTHON = process.env.REUNITE_PYTHON ?? join(ROOT, ".venv/bin/python");

/** What everybody's password is. */
const PASSWORD = "correct horse battery";

/** Where screenshots go: `make pictures` sets it. */
const SCREENSHOTS = process.env.REUNITE_SCREENSHOTS;

/** Phone, tablet and desktop. */
export const WIDTHS = { phone: 390, tablet: 820, desktop: 1440 } as const;

interface Answer {
  readonly error?: string;
  readonly link?: string;
  readonly rows?: unknown[][];
}

export class Stage {
  /** What pages have said that they should not have. */
  readonly complaints: string[] = [];
  private readonly waiting: ((answer: Answer) => void)[] = [];

  private constructor(
    readonly url: string,
    private readonly process: ChildProcess,
    onLine: (take: (line: string) => void) => void,
  ) {
    onLine((line) => this.waiting.shift()?.(JSON.parse(line)));
  }

  /** `program`: which hub, of those beside the tests that start it. */
  static async start(program = "console_hub.py"): Promise<Stage> {
    const begun = spawn(PYTHON, [join(ROOT, "tests/js", program)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let take = (_line: string): void => {};
    const lines = createInterface({ input: begun.stdout! });
    const url = await new Promise<string>((resolve, reject) => {
      take = (line) => resolve(JSON.parse(line).url);
      lines.on("line", (line) => take(line));
      begun.once("exit", () => reject(new Error("The console's hub has ended.")));
    });
    return new Stage(url, begun, (next) => {
      take = next;
    });
  }

  async ask(command: object): Promise<Answer> {
    const answer = new Promise<Answer>((resolve) => this.waiting.push(resolve));
    this.process.stdin!.write(`${JSON.stringify(command)}\n`);
    const found = await answer;
    if (found.error !== undefined) throw new Error(found.error);
    return found;
  }

  /** Run a statement as the backend would. */
  async sql(sql: string, ...values: unknown[]): Promise<unknown[][]> {
    return (await this.ask({ do: "sql", sql, values })).rows!;
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.stdin!.end();
    await ended;
  }

  /** A page of the console, before anybody has logged in. */
  async page(context: BrowserContext, path = "", host = "127.0.0.1"): Promise<Page> {
    const page = await context.newPage();
    await page.setViewportSize({ width: WIDTHS.desktop, height: 900 });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      if (/Content Security Policy|Uncaught/.test(text)) this.complaints.push(text);
    });
    await page.goto(this.url.replace("127.0.0.1", host) + path);
    return page;
  }

  /** A page of somebody who has logged in. `host`: another name for the hub, under which a browser
   * keeps a session of its own. */
  async as(context: BrowserContext, user: string, path = "", host = "127.0.0.1"): Promise<Page> {
    const page = await this.page(context, path, host);
    await logIn(page, user);
    return page;
  }
}

/** Every page, and what is behind its lists and tabs; the names are those of its first heading. */
export async function places(stage: Stage): Promise<string[]> {
  const [[replica], [conflict], [seq]] = (await Promise.all(
    [
      "select id from reunite_replica limit 1",
      "select id from reunite_hub_conflict limit 1",
      "select max(seq) from reunite_commit",
    ].map(async (sql) => (await stage.sql(sql))[0]),
  )) as [[string], [string], [number]];
  const row = `table=task&key=${encodeURIComponent('["task-0"]')}`;
  return [
    "",
    "replicas",
    `replicas/${replica}`,
    "replicas?q=nobody",
    "tables",
    "tables/task",
    `row?${row}`,
    "permissions",
    "permissions?tenant=newark",
    "conflicts",
    `conflicts/${conflict}`,
    "parked",
    "audit",
    "audit?tab=changes",
    "audit?tab=acts",
    `audit/${seq}`,
    "sync",
    "performance",
    "people",
    "people?tab=tenants",
    "people?tab=roles",
    "people?tab=tokens",
    "people?tab=log-ins",
    "view-as",
    "view-as?user=ben",
    "view-as?user=ben&table=flight",
    `view-as?user=ben&${row}`,
    "jobs",
    "discovery",
    "search?q=t",
    "nowhere",
  ];
}

/** Go to a page and wait until it has what it asks for. */
export async function visit(page: Page, stage: Stage, path: string): Promise<void> {
  await page.goto(stage.url + path);
  await page.locator("main h1").waitFor();
  await page.waitForFunction(
    () => document.querySelector("main .waiting, main [aria-busy=true]") === null,
  );
}

export async function logIn(page: Page, user: string): Promise<void> {
  await page.getByLabel("User").fill(user);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("navigation", { name: "Pages" }).waitFor({ state: "attached" });
}

/** Take the page at three widths, and once dark, if screenshots are wanted. */
export async function photograph(page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  const take = async (size: string) => {
    await page.evaluate(() => new Promise((drawn) => setTimeout(drawn, 250)));
    await page.screenshot({ path: join(SCREENSHOTS, `console-${name}-${size}.png`) });
  };
  for (const [size, width] of Object.entries(WIDTHS)) {
    await page.setViewportSize({ width, height: size === "phone" ? 844 : 900 });
    await take(size);
  }
  await page.emulateMedia({ colorScheme: "dark" });
  await take("dark");
  await page.emulateMedia({ colorScheme: "light" });
}

/** Whether nothing is wider than a phone, once what measures itself has done so. */
export async function fitsAPhone(page: Page): Promise<boolean> {
  await page.setViewportSize({ width: 360, height: 740 });
  const fits = await page
    .waitForFunction(() => document.documentElement.scrollWidth <= innerWidth, null, {
      timeout: 20_000,
    })
    .then(
      () => true,
      () => false,
    );
  await page.setViewportSize({ width: WIDTHS.desktop, height: 900 });
  return fits;
}
