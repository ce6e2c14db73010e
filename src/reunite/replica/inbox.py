"""The inbox: pages gather until their checkpoint, then become what the application sees.

    page ──► inbox (with the cursor) ──► … ──► checkpoint: in one transaction
        1 number what was captured meanwhile       4 retire what `answered` covers, park rejections
        2 take the hub's images of touched rows    5 move keys, out of the way and to where they are
        3 write the pages, deletes before puts     6 show: the hub's rows, pending merged on top

What it is       the only way in for rows (besides the first clone, which writes directly).
The rule         a page always applies. If a unique value stands in the way, it is the pending
                 change that steps aside (`blocked`), never the hub's row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import TypeAlias

import msgspec

from reunite.core.change import Op, Outcome, OutcomeKind
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.errors import IdentityForkedError
from reunite.protocol.codec import encode
from reunite.protocol.pull import Page, TablePage
from reunite.protocol.push import PushAnswer
from reunite.replica import generations
from reunite.replica.keys import KeyBlocks, without_given
from reunite.replica.leaving import Leaving, forget_erased
from reunite.replica.outbox import Outbox, bases
from reunite.replica.pages import aligned, gathered
from reunite.replica.pending import (
    Pending,
    Place,
    Schemas,
    deleted_places,
    fold,
    misplaced,
    move_keys,
    places,
)
from reunite.replica.records import Records, outcome_of
from reunite.replica.reports import Applied
from reunite.replica.reshaping import Reshaping, is_kept, refuse_misfits, unshared_columns
from reunite.replica.rows import RowForms
from reunite.replica.scene import Scene, dependents, no_keys_left
from reunite.replica.settled import apply_settled
from reunite.replica.showing import order_of, show_table
from reunite.replica.squashing import Squashed
from reunite.replica.state import State, void_inbox
from reunite.replica.users_triggers import UsersTrigger, rest, wake
from reunite.stores.sql.capture import renew_outbox_triggers
from reunite.stores.sql.dialects.sqlite_tables import plain_default

# Passes over the outbox to move pending inserts out of the way of the hub's rows. A second one
# finds something only if a key that was free for the file is not for the hub.
COLLISIONS_MAX = 100

ChangeTables: TypeAlias = Callable[
    [sqlite3.Connection, Sequence[TableSchema], Sequence[TableSchema]], None
]


class Inbox:
    """Pages of one replica file, inside one transaction with triggers suspended."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: State,
        schemas: Schemas,
        forms: RowForms,
        *,
        change_tables: ChangeTables,
        now_ms: int,
    ) -> None:
        self._connection = connection
        self._state = state
        self._schemas = self._known_schemas = schemas
        self._forms = forms
        self._change_tables = change_tables
        self._now_ms = now_ms
        self._has_new_schemas = False
        # Answered changes of tables that are made anew, as they were, and the tables then.
        self._originals: dict[int, tuple[Pending, TableSchema]] = {}
        self._outbox = Outbox(connection, state, schemas, forms)
        self._records = Records(connection, now_ms=now_ms)
        self._resting: list[UsersTrigger] = []
        self._out_of_keys: set[str] = set()  # tables of which the hub has no keys left to give
        self._leaving = Leaving(is_same_log=state.checkpoint is not None)

    def store(self, page: Page) -> None:
        """Keep a page that is no checkpoint; one with `reset` replaces what was gathered."""
        generations.begin(self._state, page)
        if page.reset:
            self._connection.execute("delete from reunite_inbox")
            self._state.repaired = None
        self._connection.execute(
            "insert into reunite_inbox (id, page) select 1 + coalesce(max(id, 0), 0), ?"
            " from (select max(id) as id from reunite_inbox)",
            (encode(page),),
        )

    def store_unfinished(self, page: Page) -> None:
        """Keep a page that counts for nothing before `finish`."""
        self._connection.execute(
            "insert into reunite_inbox (id, page)"
            " select coalesce(min(min(id), 0), 0) - 1, ? from reunite_inbox",
            (encode(page),),
        )

    def finish(self) -> None:
        """Let the unfinished pages follow the others, in their order."""
        self._connection.execute(
            "update reunite_inbox set id = (select max(0, max(id)) from reunite_inbox) - id"
            " where id < 0"
        )

    def forget_unfinished(self) -> None:
        """Drop unfinished pages that a repair left when it broke off."""
        dropped = self._connection.execute("delete from reunite_inbox where id < 0").rowcount
        self._state.has_traces |= dropped > 0

    def void(self) -> None:
        """Forget what was gathered: the next pull begins at the last checkpoint."""
        void_inbox(self._connection, self._state)

    def apply(self, final: Page) -> Applied:
        """Reveal what was gathered and the checkpoint page itself.

        Raises IdentityForkedError: then the caller undoes everything and takes a new identity.
        """
        state = self._state
        generations.begin(state, final)
        done = Applied()
        done.tables.update(self._outbox.tables())
        rows = apply_settled(
            self._connection,
            state,
            self._schemas,
            self._forms,
            lambda: self._gathered(final, done),
        )
        if rows is None:
            self._apply_merged(final, done)
        else:
            done.rows = rows
            self._leaving.forget(self._connection)
        state.has_traces |= bool(self._leaving)
        state.mark = final.mark or 0
        state.covered_n = final.answered or 0
        if state.covered_n >= state.known_n:
            state.known_id = ""
        state.cursor = state.checkpoint = final.cursor
        state.repaired = None
        generations.show(state, final)
        self._connection.execute("delete from reunite_inbox")
        return done

    def _gathered(self, final: Page, done: Applied) -> Iterator[Page]:
        for page in gathered(self._connection, final):
            done.tables.update(self._schemas if page.reset else ())
            done.tables.update(part.table for part in page.tables)
            self._leaving.see(page)
            yield page

    def _apply_merged(self, final: Page, done: Applied) -> None:
        state = self._state
        scene = self._open()
        self._take_outcomes(scene.pendings, final)
        if state.next_schemas is not None:
            self._change_schemas(scene, final.answered or 0, done)
        self._write_pages(final, scene, done)
        scene.evicted.update(
            self._leaving.missing(scene.pendings, self._schemas, partial(self._image, scene))
        )
        self._follow_outcomes(scene)
        self._retire(scene, final, done)
        self._leaving.forget(
            self._connection, scene.evicted, has=lambda place: bool(self._image(scene, place))
        )
        # Changes of the outbox hold what such rows were, and may go now.
        state.has_traces |= bool(scene.evicted)
        self._close(scene)
        done.blocked = scene.blocked

    def take_answer(self, answer: PushAnswer, *, asked: Collection[str] = ()) -> None:
        """Keep the outcomes of a push. The changes stay pending until a checkpoint covers them;
        rows move where the hub says that their keys are others, or taken.

        asked    tables of which the push wanted keys: where none came, the hub has none left, and
                 inserts that wait for one are parked
        """
        state = self._state
        self._outbox.set_applied(answer.first_n, answer.last_n)
        if answer.renumber is not None:
            # Somebody gives keys where this replica does: leave those blocks with all that is
            # still to be sent, or the hub would have to name the taken ones one by one.
            table = answer.renumber.table
            state.blocks = tuple(block for block in state.blocks if block.table != table)
            state.granted = tuple(block for block in state.granted if block.table != table)
        blocks = KeyBlocks(state.blocks)
        blocks.add(answer.blocks)
        state.blocks = blocks.value()
        state.granted = (*state.granted, *answer.blocks)
        if answer.last_n > state.known_n:
            state.known_n, state.known_id = answer.last_n, self._outbox.id_of(answer.last_n)
        state.heard_stamp = max(state.heard_stamp, answer.stamp)
        self._out_of_keys = {*asked} - {block.table for block in answer.blocks}
        is_short = not self._out_of_keys.isdisjoint(dict(state.missing_keys))
        if not answer.outcomes and answer.renumber is None and not is_short:
            return
        scene = self._open()
        position_of = {pending.n: i for i, pending in enumerate(scene.pendings)}
        for message in answer.outcomes:
            index = position_of.get(message.n)
            if index is None or scene.pendings[index].uid != message.id:
                raise IdentityForkedError("The hub has an answer for a change that is not here.")
            scene.pendings[index].outcome = outcome_of(message)
            scene.changed.add(index)
        self._follow_outcomes(scene)
        if answer.renumber is not None:
            scene.to_move.add(answer.renumber.n)
        self._close(scene)

    def give_up(self, numbers: Collection[int], *, code: str, reason: str) -> None:
        """Park changes that the hub will not even look at, and what hangs on them."""
        scene = self._open()
        refused = [pending for pending in scene.pendings if pending.n in numbers]
        for pending in refused:
            pending.outcome = Outcome(kind=OutcomeKind.REJECTED, code=code, reason=reason)
        self._park_all(scene, refused)
        self._close(scene)

    def set_aside(self, *, code: str, reason: str) -> Applied:
        """Park what the hub has not answered, and be done with what it has, which pages bring."""
        scene, done = self._open(), Applied()
        for pending in scene.pendings:
            if pending.outcome is None:
                pending.outcome = Outcome(kind=OutcomeKind.REJECTED, code=code, reason=reason)
        self._settle(scene, scene.pendings, done)
        self._close(scene)
        return done

    def squash(self, *, after_n: int) -> None:
        """Put changes of one row together where the hub has not taken them: those after a number,
        of which it never will under the numbers that they have."""
        scene = self._open()
        squashed = Squashed(self._schemas, [each for each in scene.pendings if each.n > after_n])
        scene.pendings.sort(key=attrgetter("n"))
        scene.changed |= {i for i, p in enumerate(scene.pendings) if p.n in squashed.changed}
        if squashed.gone:
            self._drop(scene, squashed.gone)
        self._close(scene)

    def rearrange(self, *, changes: int | None = None) -> None:
        """Number what was captured and move generated keys into this replica's blocks.

        changes   enough are about so many, where the rest can be numbered as easily later
        """
        is_enough = changes is not None and (
            self.number_more(changes) or not self._outbox.has_raw()
        )
        to_move = [] if is_enough else self._outbox.prepare(now_ms=self._now_ms)
        if to_move or self._state.has_misplaced or self._state.missing_keys:
            self._close(self._open(to_move))

    def number_more(self, changes: int) -> bool:
        """Number about so many captured changes, if that is easy; whether there were any."""
        return self._outbox.number_plain(now_ms=self._now_ms, changes=changes)

    def _open(self, to_move: Sequence[int] = ()) -> Scene:
        """Number what was captured, and take the touched rows off the tables."""
        to_move = [*to_move, *self._outbox.prepare(now_ms=self._now_ms)]
        pendings = self._outbox.load()
        scene = Scene(
            pendings=pendings,
            images=bases(pendings, self._outbox.stored_bases()),
            evicted=self._outbox.evicted(),
            touched=places(pendings),
            to_move=set(to_move),
        )
        self._resting = rest(self._connection, self._schemas)
        for table, keys in scene.touched_by_table().items():
            if table in self._schemas:
                self._forms.writer(self._connection, self._schemas[table]).delete(keys)
        return scene

    def _close(self, scene: Scene) -> None:
        """Settle the keys, save what changed, and show the touched rows again."""
        self._make_way(scene)
        self._outbox.save(scene.pendings[index] for index in sorted(scene.changed))
        self._outbox.store_bases(scene.pendings, scene.images, scene.evicted)
        scene.blocked = self._show(scene)
        wake(self._connection, self._resting)

    # -- 1, 2: what is pending, and on what ---------------------------------------------------

    def _take_outcomes(self, pendings: Sequence[Pending], final: Page) -> None:
        """Outcomes that came with the page; raises when they are of somebody else's changes."""
        state = self._state
        answered = final.answered or 0
        by_n = {pending.n: pending for pending in pendings}
        for message in final.outcomes:
            pending = by_n.get(message.n)
            if pending is None or pending.uid != message.id:
                raise IdentityForkedError("The hub has an answer for a change that is not here.")
            if pending.outcome is None:
                pending.outcome = outcome_of(message)
        if answered >= state.next_n:
            raise IdentityForkedError("The hub has more changes of this replica than it made.")
        for pending in pendings:
            if pending.n <= answered and pending.outcome is None:
                raise IdentityForkedError("The hub has taken a number without this change.")
        state.known_n = max(state.known_n, answered)

    def _change_schemas(self, scene: Scene, answered: int, done: Applied) -> None:
        """What gathered is written in other versions of the tables: make those anew, and reshape
        what is pending in them. Others keep their rows."""
        state = self._state
        before, after = self._schemas, {schema.name: schema for schema in state.next_schemas or ()}
        reshapings = {
            name: Reshaping(
                before[name],
                schema,
                {
                    column.name: plain_default(self._connection, column)
                    for column in unshared_columns(before[name], schema)
                },
            )
            for name, schema in after.items()
            if name in before and before[name].shape != schema.shape
        }
        waiting = [pending for pending in scene.pendings if pending.n > answered]
        if refused := refuse_misfits(reshapings, waiting):
            done.rejected += self._park_all(scene, refused)
        for index, pending in enumerate(scene.pendings):
            if pending.table in reshapings:
                if pending.n > answered:
                    was, wanted = reshapings[pending.table].lost_values(pending)
                    self._records.park_values(pending, was, wanted)
                elif pending.is_rejected:
                    original = msgspec.structs.replace(pending)
                    self._originals[id(pending)] = original, before[pending.table]
                reshapings[pending.table].apply(pending)
                scene.changed.add(index)
        for name in reshapings:
            self._leaving.make_anew(before[name], after[name])
        self._change_tables(self._connection, state.schemas, tuple(after.values()))
        made_anew = {name for name in before if not is_kept(before[name], after.get(name))}
        scene.forget(made_anew)
        # A table made anew has lost the user's triggers: they may name columns that are gone.
        self._resting = [trigger for trigger in self._resting if trigger.table not in made_anew]
        state.schemas, state.next_schemas = tuple(after.values()), None
        state.revision, state.next_revision = state.next_revision, ""
        self._known_schemas = {**before, **after}
        self._schemas = after
        self._has_new_schemas = True
        self._forms = RowForms(after, {})
        self._outbox = Outbox(self._connection, state, after, self._forms)

    # -- 3: the pages -------------------------------------------------------------------------

    def _write_pages(self, final: Page, scene: Scene, done: Applied) -> None:
        """Write the hub's rows; those of touched keys become images instead.

        Rows of several pages were read at several moments and may hold one unique value twice
        until the last one is in; then the unique indexes come back at the end.
        """
        touched = scene.touched_by_table()
        is_long = self._connection.execute(
            "select exists (select 1 from reunite_inbox where id > 0)"
        ).fetchone()
        if is_long[0]:
            self._forms.drop_unique_indexes(self._connection)
        for page in self._gathered(final, done):
            if page.reset:
                for schema in self._schemas.values():
                    self._forms.writer(self._connection, schema).clear()
                for place in scene.images:
                    scene.images[place] = None
                scene.evicted.clear()
            for part in page.tables:
                self._write_part(part, touched.get(part.table, set()), scene, done)
        if is_long[0] or self._has_new_schemas:
            self._forms.create_indexes(self._connection)
            renew_outbox_triggers(self._connection, self._schemas.values())

    def _write_part(self, part: TablePage, touched: set[Key], scene: Scene, done: Applied) -> None:
        schema = self._schemas.get(part.table)
        if schema is None:
            return
        if part.reset:
            self._forms.writer(self._connection, schema).clear()
            for key in touched:
                scene.images[part.table, key] = None
                scene.evicted.discard((part.table, key))
        scene.erased.update((part.table, key) for key in part.erases)
        gone = [*part.deletes, *part.evicts]
        puts: list[Row] = aligned(schema, part)
        done.rows += len(gone) + len(puts)
        if touched:
            images, evicted = scene.images, scene.evicted
            for key in gone:
                if key in touched:
                    images[part.table, key] = None
                    evicted.discard((part.table, key))
            evicted.update((part.table, key) for key in part.evicts if key in touched)
            gone = [key for key in gone if key not in touched]
            free = []
            for row in puts:
                key = schema.key_of(row)
                if key in touched:
                    images[part.table, key] = row
                    evicted.discard((part.table, key))
                else:
                    free.append(row)
            puts = free
        self._forms.writer(self._connection, schema).write(gone, puts)

    # -- 4: what the checkpoint answers -------------------------------------------------------

    def _follow_outcomes(self, scene: Scene) -> None:
        """Move rows to the keys under which their changes took effect."""
        pendings = scene.pendings
        for index, pending in enumerate(pendings):
            outcome = pending.outcome
            if outcome is None or outcome.key is None or outcome.key == pending.key:
                continue
            for other, occupant in enumerate(pendings):
                if (
                    occupant.op is Op.INSERT
                    and occupant is not pending
                    and occupant.table == pending.table
                    and occupant.key == outcome.key
                    and occupant.outcome is None
                ):
                    self._evade(scene, [other])
            scene.changed |= move_keys(self._schemas, pendings, {index: outcome.key})
            self._state.blocks = without_given(self._state.blocks, pending.table, outcome.key)

    def _retire(self, scene: Scene, final: Page, done: Applied) -> None:
        """Take covered changes out of the outbox; rejected ones and what hangs on them are
        parked."""
        answered = final.answered or 0
        self._settle(scene, [pending for pending in scene.pendings if pending.n <= answered], done)
        if scene.erased:
            self._records.forget(scene.erased)
            scene.changed |= forget_erased(self._schemas, scene.pendings, scene.erased)
            self._state.must_scrub = True

    def _settle(self, scene: Scene, answered: list[Pending], done: Applied) -> None:
        """Take these out of the outbox, and keep for people what their outcomes say to them."""
        for pending in answered:
            assert pending.outcome is not None, "checked in _take_outcomes"
            done.conflicts += self._records.note_conflicts(pending, pending.outcome)
        self._outbox.remove(answered)
        gone = {pending.n for pending in answered}
        self._keep(scene, [pending for pending in scene.pendings if pending.n not in gone])
        rejected = [pending for pending in answered if pending.is_rejected]
        for pending in rejected:
            self._park(scene, pending)
        done.rejected += len(rejected) + self._park_all(scene, [], rejected)

    def _park_all(
        self, scene: Scene, refused: list[Pending], rejected: Sequence[Pending] = ()
    ) -> int:
        """Park refused changes that are still in the outbox, and those that hang on them or on
        rejected ones; how many. The numbers of the rest close up."""
        parked = [*refused, *dependents(self._schemas, scene.pendings, [*rejected, *refused])]
        if not parked:
            return 0
        for pending in parked:
            self._park(scene, pending)
        self._drop(scene, parked)
        return len(parked)

    def _drop(self, scene: Scene, dropped: Sequence[Pending]) -> None:
        """Take changes out of the outbox. The numbers of the rest close up."""
        self._outbox.remove(dropped)
        gone = {pending.n for pending in dropped}
        self._keep(scene, [pending for pending in scene.pendings if pending.n not in gone])
        scene.close_gaps(gone, next_n=self._state.next_n)
        self._state.next_n -= len(gone)
        self._state.sent_n -= sum(1 for n in gone if n <= self._state.sent_n)

    def _park(self, scene: Scene, pending: Pending) -> None:
        known = pending, self._known_schemas[pending.table]
        is_evicted = (pending.table, pending.source) in scene.evicted
        self._records.park(*self._originals.get(id(pending), known), is_evicted=is_evicted)

    @staticmethod
    def _keep(scene: Scene, pendings: list[Pending]) -> None:
        """Leave only these changes in the scene."""
        changed = {id(scene.pendings[index]) for index in scene.changed}
        scene.pendings = pendings
        scene.changed = {i for i, pending in enumerate(pendings) if id(pending) in changed}

    # -- 5: keys ------------------------------------------------------------------------------

    def _make_way(self, scene: Scene) -> None:
        """Move pending inserts into this replica's blocks, and away from keys that the hub's rows
        hold."""
        numbers = scene.to_move | misplaced(self._schemas, scene.pendings, self._state.granted)
        positions = [i for i, pending in enumerate(scene.pendings) if pending.n in numbers]
        moves, missing = self._outbox.new_keys(scene.pendings, positions)
        scene.changed |= move_keys(self._schemas, scene.pendings, moves)
        if not self._out_of_keys.isdisjoint(missing):
            waiting = [scene.pendings[i] for i in positions if i not in moves]
            self._park_keyless(scene, waiting)
            missing = {t: count for t, count in missing.items() if t not in self._out_of_keys}
        self._state.missing_keys = tuple(sorted(missing.items()))
        self._state.has_misplaced = False
        for _ in range(COLLISIONS_MAX):
            collisions: list[int] = []
            fold(self._schemas, scene.pendings, lambda place: self._image(scene, place), collisions)
            if not collisions:
                return
            self._evade(scene, collisions)
        raise AssertionError("every collision moves to a key that is free")

    def _park_keyless(self, scene: Scene, waiting: Sequence[Pending]) -> None:
        """Park inserts for which the hub has no key left, with the rest of their transactions and
        what hangs on them."""
        keyless = [pending for pending in waiting if pending.table in self._out_of_keys]
        numbers = {pending.n for pending in keyless}
        groups = {pending.group for pending in keyless if pending.group > 0}
        outcome = no_keys_left(self._schemas[keyless[0].table])
        refused = [
            pending
            for pending in scene.pendings
            if pending.outcome is None and (pending.n in numbers or pending.group in groups)
        ]
        for pending in refused:
            pending.outcome = outcome
        self._park_all(scene, refused)

    def _evade(self, scene: Scene, positions: Sequence[int]) -> None:
        """Give pending inserts the next keys of the blocks."""
        moves, missing = self._outbox.new_keys(scene.pendings, positions)
        if missing:
            # No key left to give before the next push, which brings a block and moves them again.
            self._state.has_misplaced = True
            above: dict[str, int] = {}
            for position in positions:
                table = scene.pendings[position].table
                if position not in moves:
                    if table not in above:
                        above[table] = self._forms.key_above_all(
                            self._connection, table, scene.pendings
                        )
                    moves[position] = (above[table],)
                    above[table] += 1
        scene.changed |= move_keys(self._schemas, scene.pendings, moves)

    def _image(self, scene: Scene, place: Place) -> Row | None:
        """The hub's row as this replica knows it."""
        images = scene.images
        table, key = place
        if place not in images and table in self._schemas:
            images[place] = self._forms.read(self._connection, self._schemas[table], key)
        return images.get(place)

    # -- 6: what is shown ---------------------------------------------------------------------

    def _show(self, scene: Scene) -> int:
        """Write the rows of all touched keys; how many show the hub's row, or none, because a
        unique value is in the way of the pending one."""
        remaining = scene.pendings
        if not (touched := scene.touched | places(remaining)):
            return 0
        hub = {place: self._image(scene, place) for place in touched if place[0] in self._schemas}
        shown = fold(
            self._schemas,
            remaining,
            lambda place: self._image(scene, place),
            evicted=scene.evicted,
        )
        keys_by_table: dict[str, list[Key]] = {}
        for table, key in hub:
            keys_by_table.setdefault(table, []).append(key)
        blocked = 0
        deleted = deleted_places(remaining)
        for table, keys in keys_by_table.items():
            blocked += len(
                show_table(
                    self._forms.writer(self._connection, self._schemas[table]),
                    order_of(remaining, table, keys),
                    # What is written to a deleted row would be its successor's, which steps aside.
                    {key: None if (table, key) in deleted else hub[table, key] for key in keys},
                    {key: shown.get((table, key), hub[table, key]) for key in keys},
                )
            )
        return blocked
