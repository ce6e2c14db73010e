/**
 * The inbox: pages gather until their checkpoint, then become what the page sees.
 *
 *     page ──► inbox (with the cursor) ──► … ──► checkpoint: in one transaction
 *         1 take the hub's images of touched rows    3 retire what `answered` covers, park rejections
 *         2 write the pages, deletes before puts     4 move keys; show: pending merged on top
 *
 * Twin of `src/reunite/replica/inbox.py`. IndexedDB has no unique constraints besides keys, so
 * nothing is ever in a page's way here.
 * The rule: this is the only way in for rows (besides the first clone, which writes directly).
 */

import { keyText } from "../core/key.js";
import type { Table, Tables } from "../core/schema.js";
import type { Key, Row } from "../core/values.js";
import { ReuniteError } from "../errors.js";
import type { OutcomeMessage, Page, PushAnswer, TablePage } from "../protocol/messages.js";
import { rareNow } from "../rare/load.js";
import { strange } from "./conversation.js";
import { generationsBegin, generationsShow } from "./generations.js";
import { noteKey, withBlocks } from "./keys.js";
import { Leaving } from "./leaving.js";
import {
  fold,
  isRejected,
  misplaced,
  type Pending,
  type Place,
  placeOf,
  placesOf,
  sourceOf,
  tableOf,
} from "./pending.js";
import type { ConflictRecord, ParkedRecord } from "./records.js";
import type { Scene } from "./scene.js";
import { laterText } from "./state.js";
import type { Base, Tx } from "./store.js";

// Passes over the outbox to move pending inserts out of the way of the hub's rows. A second one
// finds something only if a key that was free here is not for the hub.
const COLLISIONS_MAX = 100;

/** What a step did: rows that may be others now (null: all of a table), and what people should
 * hear of. */
export class Applied {
  rows = 0;
  readonly changed = new Map<string, Map<string, Key> | null>();
  readonly conflicts: ConflictRecord[] = [];
  readonly parked: ParkedRecord[] = [];

  note(table: string, key: Key): void {
    const keys = this.changed.get(table);
    if (keys === undefined) this.changed.set(table, new Map([[keyText(key), key]]));
    else keys?.set(keyText(key), key);
  }

  noteAll(table: string): void {
    this.changed.set(table, null);
  }
}

/** The pages of one replica, inside one transaction. */
export class Inbox {
  readonly done = new Applied();
  #before: Tables;
  #originals = new Map<Pending, { pending: Pending; table: Table }>();
  #outOfKeys = new Set<string>(); // tables of which the hub has no keys left to give
  #changed = new Set<Pending>();
  #removed = new Set<number>();
  #isRenumbered = false;
  readonly #leaving: Leaving;

  readonly #tx: Tx;
  readonly #nowMs: number;

  constructor(tx: Tx, nowMs: number) {
    this.#tx = tx;
    this.#nowMs = nowMs;

    this.#before = tx.tables;
    this.#leaving = new Leaving(tx.state.checkpoint !== null);
  }

  /** Keep a page that is no checkpoint; one with `reset` replaces what was gathered. */
  async store(page: Page): Promise<void> {
    generationsBegin(this.#tx.state, page);
    if (page.reset) {
      this.#tx.clear("inbox");
      this.#tx.state.repaired = null;
    }
    this.#tx.addPage(page);
  }

  /** Forget what was gathered: the next pull begins at the checkpoint that is shown. */
  async void(): Promise<void> {
    await voidInbox(this.#tx);
  }

  /** Reveal what was gathered and the checkpoint page itself. Throws `identity-forked`: then
   * nothing was done, and the caller takes a new identity. */
  async apply(final: Page): Promise<Applied> {
    const { state } = this.#tx;
    generationsBegin(state, final);
    const scene = await this.#open();
    this.#takeOutcomes(scene.pendings, final);
    if (state.nextSchemas !== null) await this.#changeSchemas(scene, final.answered ?? 0);
    await this.#writePages(final, scene);
    await this.#followOutcomes(scene);
    await this.#retire(scene, final);
    if (this.#leaving.isAny || scene.evicted.size > 0) {
      const has = async (place: Place) => this.#has(scene, place);
      await rareNow().forgetLeft(this.#tx, this.#leaving, scene.evicted, has);
    }
    await this.#close(scene);
    state.mark = final.mark ?? 0;
    state.coveredN = final.answered ?? 0;
    if (state.coveredN >= state.knownN) state.knownId = "";
    state.cursor = final.cursor;
    state.checkpoint = final.cursor;
    state.heardStamp = laterText(state.heardStamp, final.stamp);
    state.repaired = null;
    state.writes += 1;
    generationsShow(state, final);
    this.#tx.clear("inbox");
    return this.done;
  }

  /** Keep the outcomes of a push. The changes stay pending until a checkpoint covers them; rows
   * move where the hub says that their keys are others, or taken. `asked`: tables of which the push
   * wanted keys; where none came, the hub has none left. */
  async takeAnswer(answer: PushAnswer, asked: Iterable<string>): Promise<void> {
    const { state } = this.#tx;
    const blocks = answer.blocks ?? [];
    const scene = await this.#open();
    for (const pending of scene.pendings) {
      if (answer.first_n <= pending.n && pending.n <= answer.last_n) {
        pending.outcome = { kind: "applied" };
        this.#changed.add(pending);
      }
    }
    if (answer.renumber) {
      // Somebody gives keys where this replica does: leave those blocks with all that is still to
      // be sent, or the hub would have to name the taken ones one by one.
      const { table } = answer.renumber;
      state.blocks = state.blocks.filter((block) => block.table !== table);
      state.granted = state.granted.filter((block) => block.table !== table);
    }
    state.blocks = withBlocks(state.blocks, blocks);
    state.granted = [...state.granted, ...blocks];
    if (answer.last_n > state.knownN) {
      state.knownN = answer.last_n;
      state.knownId = scene.pendings.find((p) => p.n === answer.last_n)?.uid ?? "";
    }
    state.heardStamp = laterText(state.heardStamp, answer.stamp);
    this.#outOfKeys = new Set([...asked].filter((t) => !blocks.some((b) => b.table === t)));
    const isShort = [...this.#outOfKeys].some((table) => Object.hasOwn(state.missingKeys, table));
    const byN = new Map(scene.pendings.map((pending) => [pending.n, pending]));
    for (const message of answer.outcomes) {
      const pending = byN.get(message.n);
      // A checkpoint that another tab showed meanwhile has retired it.
      if (pending === undefined && message.n <= state.coveredN) continue;
      if (pending?.uid !== message.id) throw forked("an answer for a change that is not here");
      pending.outcome = outcomeOf(message);
    }
    if (answer.outcomes.length === 0 && !answer.renumber && !isShort) {
      this.#tx.putChanges(this.#changed);
      return;
    }
    await this.#followOutcomes(scene);
    if (answer.renumber) scene.toMove.add(answer.renumber.n);
    await this.#close(scene);
    state.writes += 1;
  }

  /** Park changes that the hub will not even look at, and what hangs on them; ones that it has
   * rejected, with what it said. */
  async giveUp(numbers: ReadonlySet<number>, code: string, reason: string): Promise<void> {
    const scene = await this.#open();
    const refused = scene.pendings.filter((pending) => numbers.has(pending.n));
    for (const pending of refused) {
      if (!isRejected(pending)) pending.outcome = { kind: "rejected", code, reason };
    }
    await this.#parkAll(scene, refused, []);
    await this.#close(scene);
    this.#tx.state.writes += 1;
  }

  /** Move generated keys into this replica's blocks, where some may lie outside. */
  async rearrange(): Promise<void> {
    const { state } = this.#tx;
    if (!state.hasMisplaced && Object.keys(state.missingKeys).length === 0) return;
    await this.#close(await this.#open());
    state.writes += 1;
  }

  // -- the scene ----------------------------------------------------------------------------------

  async #open(): Promise<Scene> {
    const pendings = await this.#tx.outbox();
    const images = new Map<Place, Row | null>();
    const evicted = new Set<Place>();
    for (const base of await this.#tx.bases()) {
      images.set(base.place, base.row);
      if (base.isEvicted) evicted.add(base.place);
    }
    for (const pending of pendings) {
      const source = placeOf(pending.table, sourceOf(pending));
      const old = pending.op === "insert" ? null : pending.old;
      if (!images.has(source)) images.set(source, old);
      const target = placeOf(pending.table, pending.key);
      if (!images.has(target)) images.set(target, null);
    }
    const touched = placesOf(pendings);
    return { pendings, images, evicted, touched, erased: new Map(), toMove: new Set() };
  }

  /** Settle the keys, save what changed, and show the touched rows again. */
  async #close(scene: Scene): Promise<void> {
    await this.#makeWay(scene);
    if (this.#isRenumbered) {
      this.#tx.clear("outbox");
      this.#tx.putChanges(scene.pendings);
    } else {
      this.#tx.removeChanges(this.#removed);
      this.#tx.putChanges(scene.pendings.filter((pending) => this.#changed.has(pending)));
    }
    await this.#loadImages(scene);
    const bases: Base[] = [...placesOf(scene.pendings).keys()]
      .filter((place) => this.#tx.tables.has(tableOf(place)))
      .map((place) => ({
        place,
        row: scene.images.get(place) ?? null,
        isEvicted: scene.evicted.has(place),
      }));
    this.#tx.replaceBases(bases);
    await this.#show(scene);
  }

  /** Read the hub's rows at places that pending changes have moved to. */
  async #loadImages(scene: Scene): Promise<void> {
    for (const [place, key] of placesOf(scene.pendings)) {
      if (scene.images.has(place) || !this.#tx.tables.has(tableOf(place))) continue;
      scene.images.set(place, await this.#tx.row(tableOf(place), key));
    }
  }

  async #has(scene: Scene, place: Place): Promise<boolean> {
    const image = scene.images.get(place);
    if (image !== undefined) return image !== null;
    const table = tableOf(place);
    const key = JSON.parse(place.slice(table.length + 1)) as Key;
    return this.#tx.tables.has(table) && (await this.#tx.row(table, key)) !== null;
  }

  // -- 1: what is pending -------------------------------------------------------------------------

  /** Outcomes that came with the page; throws when they are of somebody else's changes. */
  #takeOutcomes(pendings: readonly Pending[], final: Page): void {
    const { state } = this.#tx;
    const answered = final.answered ?? 0;
    const byN = new Map(pendings.map((pending) => [pending.n, pending]));
    for (const message of final.outcomes ?? []) {
      const pending = byN.get(message.n);
      if (pending?.uid !== message.id) throw forked("an answer for a change that is not here");
      pending.outcome ??= outcomeOf(message);
    }
    if (answered >= state.nextN) throw forked("more changes of this replica than it made");
    for (const pending of pendings) {
      if (pending.n <= answered && pending.outcome === null) {
        throw forked("taken a number without this change");
      }
    }
    state.knownN = Math.max(state.knownN, answered);
  }

  /** What gathered is written in other versions of the tables: make those anew, and reshape what is
   * pending in them. Others keep their rows. */
  async #changeSchemas(scene: Scene, answered: number): Promise<void> {
    const lent = {
      tx: this.#tx,
      scene,
      before: this.#before,
      originals: this.#originals,
      changed: this.#changed,
      done: this.done,
      nowMs: this.#nowMs,
      refuse: (refused: Pending[]) => this.#parkAll(scene, refused, []),
    };
    this.#before = await rareNow().changeSchemas(lent, answered);
  }

  // -- 2: the pages -------------------------------------------------------------------------------

  /** Write the hub's rows; those of touched keys become images instead. */
  async #writePages(final: Page, scene: Scene): Promise<void> {
    for await (const page of this.#tx.pages()) await this.#writePage(page, scene);
    await this.#writePage(final, scene);
  }

  async #writePage(page: Page, scene: Scene): Promise<void> {
    this.#leaving.see(page);
    if (page.reset) {
      for (const name of this.#tx.tables.keys()) {
        this.#tx.clearTable(name);
        this.done.noteAll(name);
      }
      for (const place of scene.images.keys()) scene.images.set(place, null);
      scene.evicted.clear();
    }
    for (const part of page.tables ?? []) await this.#writePart(part, scene);
  }

  async #writePart(part: TablePage, scene: Scene): Promise<void> {
    const table = this.#tx.tables.get(part.table);
    if (table === undefined) return;
    const { images, evicted, touched, erased } = scene;
    if (part.reset) {
      this.#tx.clearTable(part.table);
      this.done.noteAll(part.table);
      for (const place of touched.keys()) {
        if (tableOf(place) !== part.table) continue;
        images.set(place, null);
        evicted.delete(place);
      }
    }
    for (const key of part.erases ?? []) {
      erased.set(placeOf(part.table, key), [part.table, key]);
    }
    const gone: Key[] = [];
    for (const [keys, isEvicted] of [
      [part.deletes ?? [], false],
      [part.evicts ?? [], true],
    ] as const) {
      for (const key of keys) {
        const place = placeOf(part.table, key);
        this.done.note(part.table, key);
        if (!touched.has(place)) {
          gone.push(key);
          continue;
        }
        images.set(place, null);
        if (isEvicted) evicted.add(place);
        else evicted.delete(place);
      }
    }
    const puts: Row[] = [];
    for (const row of aligned(table, part)) {
      const key = table.keyOf(row);
      const place = touched.size > 0 ? placeOf(part.table, key) : null;
      this.done.note(part.table, key);
      if (place === null || !touched.has(place)) {
        puts.push(row);
        continue;
      }
      images.set(place, row);
      evicted.delete(place);
    }
    this.done.rows += gone.length + puts.length;
    await this.#tx.writeRows(table, gone, puts);
  }

  // -- 3: what the checkpoint answers -------------------------------------------------------------

  /** Move rows to the keys under which their changes took effect. */
  async #followOutcomes(scene: Scene): Promise<void> {
    for (const [index, pending] of scene.pendings.entries()) {
      const key = pending.outcome?.key;
      if (!key || keyText(key) === keyText(pending.key)) continue;
      for (const [other, occupant] of scene.pendings.entries()) {
        const isInWay =
          occupant.op === "insert" &&
          occupant !== pending &&
          occupant.table === pending.table &&
          keyText(occupant.key) === keyText(key) &&
          occupant.outcome === null;
        if (isInWay) await this.#evade(scene, [other]);
      }
      this.#move(scene, new Map([[index, key]]));
      const { state } = this.#tx;
      if (state.blocks.some((block) => block.table === pending.table)) {
        state.blocks = noteKey(state.blocks, pending.table, key) ?? state.blocks;
      }
    }
  }

  /** Take covered changes out of the outbox; rejected ones and what hangs on them are parked. */
  async #retire(scene: Scene, final: Page): Promise<void> {
    const answered = final.answered ?? 0;
    const covered = scene.pendings.filter((pending) => pending.n <= answered);
    for (const pending of covered) {
      this.#removed.add(pending.n);
      await this.noteConflicts(pending);
    }
    scene.pendings = scene.pendings.filter((pending) => pending.n > answered);
    const rejected = covered.filter(isRejected);
    for (const pending of rejected) await this.#park(scene, pending);
    await this.#parkAll(scene, [], rejected);
    if (scene.erased.size > 0) {
      await rareNow().forgetErased(this.#tx, new Set(scene.erased.keys()));
    }
  }

  /** Keep the conflicts that an answered change has met, for people to see. */
  async noteConflicts(pending: Pending): Promise<void> {
    const outcome = pending.outcome!;
    if (!outcome.conflicts?.length) return;
    const found = await rareNow().noteConflicts(this.#tx, pending, outcome, this.#nowMs);
    this.done.conflicts.push(...found);
  }

  /** Park refused changes that are still in the outbox, and those that hang on them or on rejected
   * ones. The numbers of the rest close up. */
  async #parkAll(scene: Scene, refused: Pending[], rejected: Pending[]): Promise<void> {
    const { tables } = this.#tx;
    const bad = [...rejected, ...refused];
    if (bad.length === 0 && scene.pendings.every((pending) => tables.has(pending.table))) return;
    const hanging = rareNow().dependents(tables, scene.pendings, bad);
    const parked = new Set([...refused, ...hanging]);
    if (parked.size === 0) return;
    for (const pending of parked) await this.#park(scene, pending);
    scene.pendings = scene.pendings.filter((pending) => !parked.has(pending));
    this.#closeGaps(scene, new Set([...parked].map((pending) => pending.n)));
  }

  async #park(scene: Scene, pending: Pending): Promise<void> {
    const table = this.#before.get(pending.table)!;
    const original = this.#originals.get(pending) ?? { pending, table };
    const isEvicted = scene.evicted.has(placeOf(pending.table, sourceOf(pending)));
    const { park } = rareNow();
    this.done.parked.push(await park(this.#tx, original.pending, original.table, isEvicted));
  }

  /** Numbers without gaps, after parked changes among them went. If the hub has taken one of the
   * old numbers after all, it finds a fork, and everything is sent again under its old ids. */
  #closeGaps(scene: Scene, parked: ReadonlySet<number>): void {
    rareNow().closeGaps(scene, parked);
    this.#tx.state.nextN -= parked.size;
    this.#isRenumbered = true;
  }

  // -- 4: keys, and what is shown -----------------------------------------------------------------

  #move(scene: Scene, moves: ReadonlyMap<number, Key>): void {
    if (moves.size === 0) return;
    const touched = rareNow().moveKeys(this.#tx.tables, scene.pendings, moves);
    for (const index of touched) this.#changed.add(scene.pendings[index]!);
  }

  /** Move pending inserts into this replica's blocks, and away from keys that the hub's rows hold. */
  async #makeWay(scene: Scene): Promise<void> {
    const { state, tables } = this.#tx;
    const numbers = misplaced(tables, scene.pendings, state.granted);
    for (const n of scene.toMove) numbers.add(n);
    const positions = [...scene.pendings.keys()].filter((i) => numbers.has(scene.pendings[i]!.n));
    state.missingKeys = {};
    if (positions.length > 0) await this.#moveAll(scene, positions);
    state.hasMisplaced = false;
    for (let i = 0; i < COLLISIONS_MAX; i += 1) {
      await this.#loadImages(scene);
      const collisions: number[] = [];
      fold(tables, scene.pendings, scene.images, scene.evicted, collisions);
      if (collisions.length === 0) return;
      await this.#evade(scene, collisions);
    }
    throw new Error("every collision moves to a key that is free");
  }

  /** Give these inserts other keys of the blocks; those for which none is left wait, or are parked. */
  async #moveAll(scene: Scene, positions: readonly number[]): Promise<void> {
    const { moves, missing } = await rareNow().keysFor(this.#tx, scene.pendings, positions);
    this.#move(scene, moves);
    if ([...this.#outOfKeys].some((table) => missing.has(table))) {
      const waiting = positions.filter((i) => !moves.has(i)).map((i) => scene.pendings[i]!);
      await this.#parkKeyless(scene, waiting);
      for (const table of this.#outOfKeys) missing.delete(table);
    }
    this.#tx.state.missingKeys = Object.fromEntries(missing);
  }

  /** Park inserts for which the hub has no key left, with the rest of their transactions. */
  async #parkKeyless(scene: Scene, waiting: readonly Pending[]): Promise<void> {
    const keyless = waiting.filter((pending) => this.#outOfKeys.has(pending.table));
    await this.#parkAll(scene, rareNow().refuseKeyless(scene.pendings, keyless), []);
  }

  /** Give pending inserts that are in the way other keys. */
  async #evade(scene: Scene, positions: readonly number[]): Promise<void> {
    this.#move(scene, await rareNow().keysInTheWay(this.#tx, scene.pendings, positions));
  }

  /** Write the rows of all touched places as the page is to see them. */
  async #show(scene: Scene): Promise<void> {
    const { tables } = this.#tx;
    const touched = new Map([...scene.touched, ...placesOf(scene.pendings)]);
    const shown = fold(tables, scene.pendings, scene.images, scene.evicted);
    for (const [place, key] of touched) {
      const table = tables.get(tableOf(place));
      if (table === undefined) continue;
      const folded = shown.get(place);
      const row = folded === undefined ? (scene.images.get(place) ?? null) : folded;
      await this.#tx.writeRows(table, row === null ? [key] : [], row === null ? [] : [row]);
      this.done.note(table.name, key);
    }
  }
}

/** Forget what was gathered: the next pull begins at the checkpoint that is shown. */
export async function voidInbox(tx: Tx): Promise<void> {
  tx.clear("inbox");
  tx.state.cursor = tx.state.checkpoint;
  tx.state.repaired = null;
  tx.state.nextSchemas = null;
  tx.state.nextRevision = "";
  tx.state.nextGenerations = {};
}

/** The rows of a page in the order of the table's columns. */
export function aligned(table: Table, part: TablePage): readonly Row[] {
  const columns = part.columns ?? [];
  const rows = part.puts ?? [];
  if (rows.some((row) => row.length !== columns.length)) throw strange();
  if (keyText(columns) === keyText(table.names)) return rows;
  const places = table.names.map((name) => columns.indexOf(name));
  return rows.map((row) => places.map((place) => (place === -1 ? null : row[place]!)));
}

function outcomeOf({ n: _n, id: _id, ...outcome }: OutcomeMessage): Pending["outcome"] {
  return outcome;
}

function forked(what: string): ReuniteError {
  return new ReuniteError("identity-forked", `The hub has ${what}.`);
}
