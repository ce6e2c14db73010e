/**
 * Real hubs for tests: each over an SQLite file, on a port of its own, in one Python process.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const ROOT = join(import.meta.dirname, "../../..");
const PYTHON = process.env.REUNITE_PYTHON ?? join(ROOT, ".venv/bin/python");

/** What a test's hub serves. */
export interface HubOptions {
  readonly tables: string;
  readonly track: Readonly<Record<string, object>>;
  /** What a principal may do with a table's rows: an expression in Python. */
  readonly rules?: Readonly<Record<string, string>>;
  /** To stand behind a sealed door: its options. */
  readonly sealed?: { readonly requests_per_door?: number };
}

interface Answer {
  readonly rows?: unknown[][];
  readonly token?: string;
  readonly url?: string;
  readonly error?: string;
}

/** The Python process; it ends with this one, which closes its standard input. */
class Hubs {
  private process: ChildProcess | null = null;
  private readonly waiting: ((answer: Answer) => void)[] = [];

  async ask(command: object): Promise<Answer> {
    this.process ??= this.begin();
    const answer = new Promise<Answer>((resolve) => this.waiting.push(resolve));
    this.process.stdin!.write(`${JSON.stringify(command)}\n`);
    const found = await answer;
    if (found.error !== undefined) throw new Error(found.error);
    return found;
  }

  private begin(): ChildProcess {
    if (!existsSync(PYTHON)) throw new Error(`There is no ${PYTHON}: run make setup first.`);
    const begun = spawn(PYTHON, [join(ROOT, "tests/js/hubs.py")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    createInterface({ input: begun.stdout! }).on("line", (line) => {
      this.waiting.shift()?.(JSON.parse(line));
    });
    begun.once("exit", () => {
      for (const resolve of this.waiting.splice(0)) resolve({ error: "The hubs have ended." });
    });
    return begun;
  }
}

const hubs = new Hubs();

export class TestHub {
  private constructor(
    readonly url: string,
    readonly token: string,
    readonly folder: string,
  ) {}

  static async start(options: HubOptions): Promise<TestHub> {
    const folder = mkdtempSync(join(tmpdir(), "reunite-js-"));
    const { url, token } = await hubs.ask({ do: "open", hub: join(folder, "hub.db"), ...options });
    return new TestHub(url!, token!, folder);
  }

  /** Run a statement on the hub's file, as another program would. */
  async sql(sql: string, ...values: unknown[]): Promise<unknown[][]> {
    return (await this.ask({ do: "sql", sql, values })).rows!;
  }

  /** A token for a principal of this name. */
  async tokenFor(principal: string): Promise<string> {
    return (await this.ask({ do: "token", principal })).token!;
  }

  /** Change tables while capture is off. */
  async migrate(sql: string): Promise<void> {
    await this.ask({ do: "migrate", sql });
  }

  /** Be down, until `startAgain` serves the same file on the same port. */
  async stop(): Promise<void> {
    await this.ask({ do: "stop" });
  }

  async startAgain(): Promise<void> {
    await this.ask({ do: "start" });
  }

  async close(): Promise<void> {
    await this.ask({ do: "close" });
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Any command of `tests/js/hubs.py`. */
  ask(command: object): Promise<Answer> {
    return hubs.ask({ ...command, hub: join(this.folder, "hub.db") });
  }
}
