/**
 * A hub and some devices, each with a browser's storage of its own, as far as Node can tell.
 */

import "fake-indexeddb/auto";
import { type ConnectOptions, connect, type Database, type Fetch } from "../../src/index.js";
import { type HubOptions, TestHub } from "./hub.js";

/** How long a test waits for something to happen. */
export const DEADLINE_MS = 60_000;

export const TASKS: HubOptions = {
  tables: `
    create table project (id integer primary key, name text not null);
    create table task (
      id text primary key, title text not null, done boolean not null default 0,
      hours integer not null default 0, labels json, project_id integer references project (id)
    );
    insert into project values (1, 'Home');
    insert into task (id, title, hours, project_id) values ('t1', 'Buy milk', 1, 1), ('t2', 'Paint', 5, 1);
  `,
  track: { project: {}, task: { merge: { hours: "counter", labels: "union" } } },
};

let devices = 0;

/** The wire between a device and its hub: it can be cut. */
export class Wire {
  isCut = false;
  /** Requests whose answers are lost: the hub gets them. */
  losing = 0;
  readonly asked: string[] = [];

  readonly fetch: Fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const operation = new URL(url).pathname.split("/").at(-1)!;
    this.asked.push(operation);
    if (this.isCut) throw new TypeError("The wire is cut.");
    const response = await globalThis.fetch(url, init);
    if (this.losing === 0 || operation !== "push") return response;
    this.losing -= 1;
    await response.arrayBuffer();
    throw new TypeError("The answer was lost.");
  };
}

export class World {
  private readonly open = new Set<Database>();

  private constructor(readonly hub: TestHub) {}

  static async with(options: HubOptions): Promise<World> {
    return new World(await TestHub.start(options));
  }

  /** A device that syncs when it is told to, unless `live` is asked for. */
  async device(
    options: Partial<ConnectOptions> = {},
  ): Promise<{ db: Database; wire: Wire; name: string }> {
    devices += 1;
    const wire = new Wire();
    const name = options.name ?? `device ${devices}`;
    const { fetch } = wire;
    const { token } = this.hub;
    const db = await connect(this.hub.url, { token, live: false, fetch, ...options, name });
    this.open.add(db);
    return { db, wire, name };
  }

  async close(): Promise<void> {
    for (const db of this.open) await db.close();
    await this.hub.close();
  }
}

/** Wait until something holds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`It did not come to be that ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
