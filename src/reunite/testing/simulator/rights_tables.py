"""Tables with rules, and the same rules said once more by hand.

What it is       two tenants with projects, tasks and memos; for each table some rules, columns that
                 have rules of their own, and for each rule a function that decides it naively.
The rule         nothing here asks reunite what a rule means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from reunite.core.fields import row, user
from reunite.core.principal import Principal

USERS = ("ann", "bob", "cid", "dot")
ORGS = ("north", "south")
TEAMS = ("red", "blue")

DDL = """
create table project (id text primary key not null, org text, team text, title text);
create table task (
    id text primary key not null, org text, team text, owner text,
    project_id text references project (id) on delete set null, title text, body text
);
create table memo (
    id text primary key not null, task_id text references task (id) on delete cascade,
    author text, body text
);
insert into project values
    ('p1', 'north', 'red', 'CANARY7;'), ('p2', 'north', 'blue', ''), ('p3', 'south', 'red', '');
insert into task values
    ('t1', 'north', 'red', 'ann', 'p1', 'CANARY1;', ''),
    ('t2', 'north', 'blue', 'bob', 'p2', 'CANARY2;', ''),
    ('t3', 'south', 'red', 'cid', 'p3', 'CANARY3;', ''),
    ('t4', 'south', 'blue', 'dot', null, 'CANARY4;', '');
insert into memo values ('m1', 't1', 'ann', 'CANARY5;'), ('m2', 't3', 'cid', 'CANARY6;');
"""
COLUMNS = {
    "project": ("id", "org", "team", "title"),
    "task": ("id", "org", "team", "owner", "project_id", "title", "body"),
    "memo": ("id", "task_id", "author", "body"),
}
PARENTS = ("project", "task")
TENANTS = {"project": "org", "task": "org", "memo": "task.org"}

# A row by column, with the rows that it points to under their tables' names.
Named: TypeAlias = Mapping[str, Any]
# A rule, and the same thing said by hand.
Kind: TypeAlias = tuple[Any, Callable[[Named, Principal], bool]]

KINDS: Mapping[str, tuple[Kind, ...]] = {
    "project": (
        (True, lambda r, p: True),
        (row.team.is_in(user.teams), lambda r, p: r["team"] in p.claims["teams"]),
    ),
    "task": (
        (True, lambda r, p: True),
        (row.team.is_in(user.teams), lambda r, p: r["team"] in p.claims["teams"]),
        (row.owner == user.id, lambda r, p: r["owner"] == p.user),
        (
            (row.owner == user.id) | row.team.is_in(user.teams),
            lambda r, p: r["owner"] == p.user or r["team"] in p.claims["teams"],
        ),
        (
            ~(row.team == "red") | user.roles.contains("boss"),
            lambda r, p: (r["team"] is not None and r["team"] != "red") or "boss" in p.roles,
        ),
        (
            row.project.team.is_in(user.teams),
            lambda r, p: r["project"]["team"] in p.claims["teams"],
        ),
        (
            row.project_id.is_null() | ~(row.project.team == "red"),
            lambda r, p: r["project_id"] is None or r["project"]["team"] not in (None, "red"),
        ),
    ),
    "memo": (
        (row.author == user.id, lambda r, p: r["author"] == p.user),
        (
            user.roles.contains("boss") | (row.author == user.id),
            lambda r, p: "boss" in p.roles or r["author"] == p.user,
        ),
        (
            row.task.project.team.is_in(user.teams) | (row.task.owner == user.id),
            lambda r, p: (
                r["task"]["project"]["team"] in p.claims["teams"] or r["task"]["owner"] == p.user
            ),
        ),
    ),
}

# Who reads a column; and who writes it, in which rows.
COLUMN_READS: tuple[tuple[Any, Callable[[Principal], bool]], ...] = (
    (True, lambda p: True),
    (user.roles.contains("boss"), lambda p: "boss" in p.roles),
    (~user.roles.contains("boss"), lambda p: "boss" not in p.roles),
    (False, lambda p: False),
)
COLUMN_WRITES: Mapping[str, tuple[Kind, ...]] = {
    "title": ((True, lambda r, p: True), (False, lambda r, p: False)),
    "body": (
        (True, lambda r, p: True),
        (row.owner == user.id, lambda r, p: r["owner"] == p.user),
        (
            row.project.team.is_in(user.teams),
            lambda r, p: r["project"]["team"] in p.claims["teams"],
        ),
    ),
}
RULED: Mapping[str, tuple[str, ...]] = {"project": ("title",), "task": ("title", "body")}
