/**
 * Both languages on one hub: browser replicas and Python replicas write apart over wires that lose
 * requests and answers, crash and come back, and in the end all have the same rows.
 *
 *     SEED=4711,4712 npx vitest run tests/stories/together.test.ts      other lives
 */

import { afterEach, expect, test } from "vitest";
import type { Database } from "../../src/index.js";
import { isError } from "../../src/index.js";
import { TASKS, Wire, World } from "./world.js";

const SEEDS = (process.env.SEED ?? "1,2,3").split(",").map(Number);
const STEPS = 120;

let world: World;
afterEach(() => world.close());

/** Chances that are the same for the same seed (a linear congruential generator, high bits). */
class Dice {
  constructor(private state: number) {}

  /** A whole number from 0 to `below` - 1. */
  roll(below: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 2 ** 32) * below);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.roll(items.length)]!;
  }
}

/** One device: it writes with one language or the other. */
interface Device {
  readonly name: string;
  insertTask(id: string, title: string, project: number | null): Promise<void>;
  insertProject(name: string): Promise<void>;
  set(id: string, column: "title" | "done", value: string | boolean): Promise<void>;
  add(id: string, hours: number): Promise<void>;
  remove(table: "task" | "project", id: string | number): Promise<void>;
  taskIds(): Promise<string[]>;
  projectIds(): Promise<number[]>;
  sync(): Promise<void>;
  crash(): Promise<void>;
  /** From now on the wire loses nothing. */
  heal(): Promise<void>;
  rows(table: string): Promise<unknown[][]>;
}

/** A wire that loses requests and answers by chance, while it is bad. */
class BadWire extends Wire {
  isBad = true;

  constructor(private readonly dice: Dice) {
    super();
  }

  override readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const fate = this.isBad ? this.dice.roll(10) : 9;
    if (fate === 0) throw new TypeError("The request was lost.");
    const response = await globalThis.fetch(url, init);
    if (fate > 1) return response;
    await response.arrayBuffer();
    throw new TypeError("The answer was lost.");
  };
}

class Browser implements Device {
  constructor(
    readonly name: string,
    private readonly wire: BadWire,
    private db: Database,
  ) {}

  static async begin(name: string, dice: Dice): Promise<Browser> {
    const wire = new BadWire(dice);
    wire.isBad = false;
    const { db } = await world.device({ name, fetch: wire.fetch });
    wire.isBad = true;
    return new Browser(name, wire, db);
  }

  async insertTask(id: string, title: string, project: number | null): Promise<void> {
    await this.db.table("task").create(id, { title, project_id: project, labels: [title] });
  }

  async insertProject(name: string): Promise<void> {
    await this.db.table("project").create({ name });
  }

  async set(id: string, column: "title" | "done", value: string | boolean): Promise<void> {
    await this.db.table("task").update(id, { [column]: value });
  }

  async add(id: string, hours: number): Promise<void> {
    await this.db.transaction(async (tx) => {
      const task = await tx.get<{ hours: number }>("task", id);
      await tx.update("task", id, { hours: task!.hours + hours });
    });
  }

  async remove(table: "task" | "project", id: string | number): Promise<void> {
    await this.db.table(table).delete(id);
  }

  async taskIds(): Promise<string[]> {
    return (await this.db.table<{ id: string }>("task").all()).map((task) => task.id);
  }

  async projectIds(): Promise<number[]> {
    return (await this.db.table<{ id: number }>("project").all()).map((project) => project.id);
  }

  async sync(): Promise<void> {
    try {
      await this.db.sync();
    } catch (error) {
      if (!isError(error, "hub-unreachable")) throw error;
    }
  }

  async crash(): Promise<void> {
    await this.db.close();
    const { db } = await world.device({ name: this.name, fetch: this.wire.fetch });
    this.db = db;
  }

  async rows(table: string): Promise<unknown[][]> {
    return (await this.db.table(table).all()).map((row) => Object.values(row));
  }

  async heal(): Promise<void> {
    this.wire.isBad = false;
  }

  async pending(): Promise<number> {
    return (await this.db.pending()).length;
  }
}

class Python implements Device {
  private constructor(readonly name: string) {}

  static async begin(name: string, seed: number): Promise<Python> {
    await world.hub.ask({ do: "clone", replica: name, seed });
    return new Python(name);
  }

  insertTask(id: string, title: string, project: number | null): Promise<void> {
    const sql = "insert into task (id, title, project_id, labels) values (?, ?, ?, json_array(?))";
    return this.run(sql, id, title, project, title);
  }

  insertProject(name: string): Promise<void> {
    return this.run("insert into project (name) values (?)", name);
  }

  set(id: string, column: "title" | "done", value: string | boolean): Promise<void> {
    const stored = typeof value === "boolean" ? Number(value) : value;
    return this.run(`update task set ${column} = ? where id = ?`, stored, id);
  }

  add(id: string, hours: number): Promise<void> {
    return this.run("update task set hours = hours + ? where id = ?", hours, id);
  }

  remove(table: "task" | "project", id: string | number): Promise<void> {
    return this.run(`delete from ${table} where id = ?`, id);
  }

  async taskIds(): Promise<string[]> {
    return (await this.rows("task")).map(([id]) => id as string);
  }

  async projectIds(): Promise<number[]> {
    return (await this.rows("project")).map(([id]) => id as number);
  }

  async sync(): Promise<void> {
    await world.hub.ask({ do: "sync", replica: this.name });
  }

  async crash(): Promise<void> {
    await world.hub.ask({ do: "crash", replica: this.name });
  }

  async heal(): Promise<void> {
    await world.hub.ask({ do: "heal", replica: this.name });
  }

  async rows(table: string): Promise<unknown[][]> {
    const sql = `select * from ${table} order by id`;
    const { rows } = await world.hub.ask({ do: "run", replica: this.name, sql, values: [] });
    return rows!.map((row) => readable(table, row));
  }

  private async run(sql: string, ...values: unknown[]): Promise<void> {
    await world.hub.ask({ do: "run", replica: this.name, sql, values });
  }
}

/** A row of SQLite as the browser shows it. */
function readable(table: string, row: readonly unknown[]): unknown[] {
  if (table === "project") return [...row];
  const [id, title, done, hours, labels, project] = row;
  return [id, title, Boolean(done), hours, labels && JSON.parse(labels as string), project];
}

async function step(device: Device, dice: Dice, number: number): Promise<void> {
  const [tasks, projects] = [await device.taskIds(), await device.projectIds()];
  const id = tasks.length > 0 ? dice.pick(tasks) : null;
  const title = `${device.name} ${number}`;
  switch (dice.roll(10)) {
    case 0:
      return device.insertProject(title);
    case 1:
    case 2: {
      // Few ids, so that two devices make the same row now and then.
      const fresh = `task ${dice.roll(30)}`;
      const project = projects.length > 0 && dice.roll(2) ? dice.pick(projects) : null;
      return tasks.includes(fresh) ? undefined : device.insertTask(fresh, title, project);
    }
    case 3:
      return id === null ? undefined : device.set(id, "title", title);
    case 4:
      return id === null ? undefined : device.set(id, "done", dice.roll(2) === 1);
    case 5:
      return id === null ? undefined : device.add(id, 1 + dice.roll(5));
    case 6:
      if (dice.roll(3) > 0 || id === null) return;
      return device.remove("task", id);
    case 7:
      return device.crash();
    default:
      return device.sync();
  }
}

test.each(SEEDS)("browsers and Python replicas come to the same rows, seed %i", async (seed) => {
  const dice = new Dice(seed);
  world = await World.with(TASKS);
  const browsers = [
    await Browser.begin(`b1 ${seed}`, dice),
    await Browser.begin(`b2 ${seed}`, dice),
  ];
  const devices: Device[] = [
    ...browsers,
    await Python.begin("p1", seed),
    await Python.begin("p2", -seed),
  ];
  for (let number = 0; number < STEPS; number += 1) await step(dice.pick(devices), dice, number);

  for (const device of devices) await device.heal();
  for (let round = 0; round < 3; round += 1) for (const device of devices) await device.sync();
  for (const table of ["project", "task"]) {
    const truth = await world.hub.sql(`select * from ${table} order by id`);
    const wanted = truth.map((row) => readable(table, row));
    for (const device of devices) expect(await device.rows(table), device.name).toEqual(wanted);
  }
  for (const browser of browsers) expect(await browser.pending()).toBe(0);
});
