/**
 * A Python backend with DSNSync, in a process of its own, and the examples of dsn-sync's README.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const ROOT = join(import.meta.dirname, "../../..");
const PYTHON = process.env.REUNITE_PYTHON ?? join(ROOT, ".venv/bin/python");

/** The README's JavaScript, without its imports: block by block. */
export const EXAMPLES = [
  ...readFileSync(join(ROOT, "tests/dropin/dsn_sync_readme.md"), "utf8").matchAll(
    /```javascript\n(.*?)```/gs,
  ),
].map(([, code]) => code!.replace(/^import .*$/m, ""));

/** What became of it is told where the page's own functions would be. */
export const CONNECTS = 0;
export const SHOP = 9;

export class Backend {
  url = "";
  token = "";
  readonly #process: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];

  private constructor(
    readonly folder: string,
    asked: object,
  ) {
    const given = JSON.stringify({ folder: join(folder, "dsn"), ...asked });
    this.#process = spawn(PYTHON, [join(ROOT, "tests/js/dsn_backend.py"), given], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      this.#waiting.shift()?.(line);
    });
    this.#process.once("exit", () => {
      for (const resolve of this.#waiting.splice(0)) resolve('{"error":"The backend has ended."}');
    });
  }

  static async start(asked: object = {}, folder?: string): Promise<Backend> {
    const backend = new Backend(folder ?? mkdtempSync(join(tmpdir(), "reunite-dsn-")), asked);
    const { url, token } = (await backend.#line()) as { url: string; token: string };
    Object.assign(backend, { url, token });
    return backend;
  }

  /** Any command of `tests/js/dsn_backend.py`. */
  async ask<Answer = unknown>(what: string, more: object = {}): Promise<Answer> {
    const answer = this.#line();
    this.#process.stdin!.write(`${JSON.stringify({ do: what, ...more })}\n`);
    return ((await answer) as { answer: Answer }).answer;
  }

  sync(table: string, key: string, data: object): Promise<unknown> {
    return this.ask("sync", { table, key, data });
  }

  async end(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin!.end();
    await ended;
  }

  async stop(): Promise<void> {
    await this.end();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #line(): Promise<unknown> {
    const line = await new Promise<string>((resolve) => this.#waiting.push(resolve));
    const found = JSON.parse(line) as { error?: string };
    if (found.error !== undefined) throw new Error(found.error);
    return found;
  }
}

/** The shop of `examples/dsn_sync_shop`, as its page says. */
export async function startShop(): Promise<{ address: string; stop: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), "reunite-shop-"));
  const program = join(ROOT, "examples/dsn_sync_shop/backend.py");
  const shop = spawn(PYTHON, [program, "--port", "0", "--page-port", "0"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => shop.once("exit", () => resolve()));
  const address = await new Promise<string>((resolve, reject) => {
    createInterface({ input: shop.stdout! }).once("line", resolve);
    void ended.then(() => reject(new Error("The shop has ended.")));
  });
  const stop = async () => {
    shop.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  return { address, stop };
}
