"""What the hub knows of its tracked tables beyond their schemas: hooks, merge functions, rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias

import msgspec

from reunite.core.change import Op
from reunite.core.grants import NO_GRANTS, Grants
from reunite.core.key import Key
from reunite.core.merge import MergeFunction
from reunite.core.policy import OnFailure, Policy
from reunite.core.principal import Principal
from reunite.core.rules import Access, Rules, parse_rules
from reunite.core.schema import TableSchema
from reunite.engine.directory import Directory, NoDirectory
from reunite.engine.ports import Transaction
from reunite.errors import UnknownTableError


class HookedChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook is told: a row's state before and after its group, as dicts by column."""

    table: str
    op: Op
    key: Key
    old: Mapping[str, Any] | None
    row: Mapping[str, Any] | None
    principal: Principal


Hook: TypeAlias = Callable[[HookedChange, Any], None]


class Tables:
    """The tracked tables of a hub, by name. With `has_all`, those that come later as well."""

    def __init__(
        self,
        *,
        on_failure: OnFailure = lambda what, failure: None,
        directory: Directory | None = None,
    ) -> None:
        self.on_failure = on_failure
        self.has_all = False
        self.schemas: dict[str, TableSchema] = {}
        self.functions: dict[str, dict[str, MergeFunction]] = {}
        self.hooks: dict[tuple[str, Op], list[Hook]] = {}
        self.policies: dict[str, Policy] = {}
        self.rules_text = ""
        self.directory = directory or NoDirectory()
        self.grants_stamp = ""
        self._tx: Transaction | None = None
        self.known: Mapping[str, TableSchema] = {}  # all tracked tables, by whomever

    def at(self, tx: Transaction) -> Tables:
        """These tables as they are in a transaction's snapshot; those that are gone left out.

        What a use case reads and what it reads it with are of one moment then, whatever a
        migration does meanwhile.
        """
        now = tx.schemas()
        found = Tables(on_failure=self.on_failure, directory=self.directory)
        found.has_all, found.known = self.has_all, now
        names = now if self.has_all else self.schemas
        found.schemas = {name: now[name] for name in names if name in now}
        found.functions, found.hooks = self.functions, self.hooks
        found.policies = self.policies
        found.rules_text = tx.rules()
        found._tx = tx
        found.grants_stamp = self.directory.stamp(tx)
        return found

    def access(self, principal: Principal) -> Access:
        """What this principal may do with them. Of tables `at` a transaction only."""
        return self.access_by(parse_rules(self.rules_text), principal)

    def access_by(self, rules: Mapping[str, Rules], principal: Principal) -> Access:
        """The same, if these were the rules."""
        return Access(
            rules,
            self.known,
            principal,
            self.grants(principal),
            policies=self.policies,
            on_failure=self.on_failure,
        )

    def grants(self, principal: Principal) -> Grants:
        """What stored permissions say of this principal."""
        return NO_GRANTS if self._tx is None else self.directory.grants(self._tx, principal)

    def shown_by(self, access: Access) -> Tables:
        """The same with the schemas that a principal knows: without columns that it may not
        read."""
        shown = access.shown()
        found = copy(self)
        found.schemas = {name: shown.get(name, schema) for name, schema in self.schemas.items()}
        return found

    def schema(self, name: str, *, path: str | None = None) -> TableSchema:
        """The table's schema. Raises UnknownTableError."""
        try:
            return self.schemas[name]
        except KeyError:
            raise UnknownTableError(f"This hub tracks no table {name!r}.", path=path) from None

    def asked(self, names: Sequence[str] | None) -> dict[str, TableSchema]:
        """The schemas of the named tables, of all for None. Raises UnknownTableError."""
        if names is None:
            return dict(sorted(self.schemas.items()))
        return {name: self.schema(name, path="tables") for name in sorted(set(names))}

    def readable(self, names: Sequence[str] | None) -> dict[str, TableSchema]:
        """The same for a reader: tables that are no longer tracked leave its view."""
        wanted = None if names is None else [name for name in names if name in self.schemas]
        return self.asked(wanted)

    def referenced(self) -> set[str]:
        """The tables that a foreign key of a tracked table points to."""
        return {key.parent for schema in self.schemas.values() for key in schema.foreign_keys}

    def hooks_of(self, table: str, op: Op) -> Sequence[Hook]:
        """What runs for each row that a push changes so, in the order of declaration."""
        return self.hooks.get((table, op), ())
