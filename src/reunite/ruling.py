"""What a hub keeps of who may do what: the rules of its tables, and the policies beside them.

What it is       the part of the public `Hub` that checks rules and keeps them in its database.
What it is not   what they mean; that is in `core/rules.py`.
The rule         a table is never offered for a moment without the rules that it was to have, and
                 rules that are refused leave nothing behind.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from reunite.core.policy import Policy
from reunite.core.rules import Rules, check_rules, parse_rules, rules_text
from reunite.core.schema import TableSchema
from reunite.engine.news import Feed
from reunite.engine.ports import Store
from reunite.engine.tables import Tables
from reunite.engine.telling_keys import telling_key
from reunite.errors import BadRequestError

logger = logging.getLogger("reunite.hub")


class Ruling(ABC):
    """The rules of a hub. `Hub` is one."""

    _store: Store
    _declared: Tables
    _feed: Feed

    def rules(self) -> Mapping[str, Rules]:
        """The rules of tables that have some. Without any, who has a token may do everything."""
        with self._store.read() as tx:
            return parse_rules(tx.rules())

    def drop_rules(self, table: str) -> None:
        """Take the rules off a table: then it is closed, or all are open if none has any."""
        self._keep_rules(table, None)

    def missing_policies(self) -> Mapping[str, str]:
        """The names of policies that this process was not given, by table: it serves nothing of
        these tables."""
        return {
            table: rules.policy
            for table, rules in self.rules().items()
            if rules.policy is not None and table not in self._declared.policies
        }

    def _track(
        self,
        schema: TableSchema,
        rules: Rules | None,
        tenant: str | None,
        policy: Policy | None,
    ) -> None:
        """Track a table with what is said of who may do what with it."""
        if rules is None and tenant is None and policy is None:
            self._store.track([schema])
            return
        given: Any = rules  # programs call this without our types being checked
        if given is not None and not isinstance(given, Rules):
            raise BadRequestError(f"{given!r} are no Rules: write Rules(read=…, insert=…).")
        known, before = self._known_rules()
        former = before.get(schema.name)
        named = None if policy is None else type(policy).__name__
        said = msgspec.structs.replace(
            rules or former or Rules.none(),
            **({} if tenant is None else {"tenant": tenant}),
            **({} if named is None else {"policy": named}),
        )
        wanted = check_rules(said.after(former), schema, known)
        self._store.track([])
        self._keep_rules(schema.name, wanted)
        if policy is not None:
            self._declared.policies[schema.name] = policy
        try:
            self._store.track([schema])
        except BaseException:
            self._keep_rules(schema.name, former)
            raise
        if tenant is not None and (former is None or former.tenant != tenant):
            with self._store.read() as tx:
                told = telling_key(tx, tx.schemas()[schema.name], wanted)
            if told is not None:
                logger.warning("%s", told)

    @abstractmethod
    def _known_rules(self) -> tuple[Mapping[str, TableSchema], Mapping[str, Rules]]:
        """The tracked tables and their rules; none of a database that is no hub's yet."""

    def _keep_rules(self, table: str, rules: Rules | None) -> None:
        with self._store.write() as tx:
            known = {name: of for name, of in parse_rules(tx.rules()).items() if name != table}
            text = rules_text(known if rules is None else {**known, table: rules})
            if text != tx.rules():
                tx.keep_rules(text)
        self._feed.wake()
