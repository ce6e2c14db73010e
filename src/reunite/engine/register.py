"""Register: give a file its identity, its key blocks and the schema; and look identities up."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

import msgspec

from reunite.core.principal import Principal, tenant_text
from reunite.core.stamp import commit_stamp
from reunite.engine.ports import ReplicaRecord, Store, Transaction, WriteTransaction
from reunite.engine.tables import Tables
from reunite.engine.view import view_of
from reunite.errors import (
    BadRequestError,
    HubRestoredError,
    LimitExceededError,
    UnknownReplicaError,
    UpgradeRequiredError,
)
from reunite.protocol.limits import KEY_BLOCK_MAX, NAME_LENGTH_MAX
from reunite.protocol.register import KeyBlock, RegisterAnswer, RegisterRequest, block_size
from reunite.protocol.version import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN

# Hexadecimal digits of a replica's id: enough that no two of a hub meet, short enough to read.
REPLICA_ID_LENGTH = 16

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_protocol(version: int) -> None:
    """Raises UpgradeRequiredError for a version that this hub does not speak."""
    if not PROTOCOL_VERSION_MIN <= version <= PROTOCOL_VERSION:
        raise UpgradeRequiredError(
            f"The replica speaks protocol {version}, this hub {PROTOCOL_VERSION_MIN} to "
            f"{PROTOCOL_VERSION}: upgrade the older side.",
            path="protocol",
        )


def check_name(name: str) -> None:
    """Raises LimitExceededError, BadRequestError for a name that people could not be shown."""
    if len(name) > NAME_LENGTH_MAX:
        raise LimitExceededError(
            f"A replica's name has at most {NAME_LENGTH_MAX} characters; this one has {len(name)}.",
            limit="NAME_LENGTH_MAX",
            path="name",
        )
    if _CONTROL.search(name):
        raise BadRequestError(
            "A replica's name has no control characters: choose another one.", path="name"
        )


def check_shown(*names: str) -> None:
    """Raises BadRequestError for the name of a principal or token that people could not be shown:
    of more than `NAME_LENGTH_MAX` characters, or with one that cannot be printed."""
    for name in names:
        if len(name) > NAME_LENGTH_MAX or not name.isprintable():
            raise BadRequestError(
                f"A principal and a label have at most {NAME_LENGTH_MAX} characters that can be "
                "printed: choose another one."
            )


def is_owner(principal: Principal, record: ReplicaRecord) -> bool:
    """Whether this principal registered the replica. Two tenants may have users of one name."""
    return record.principal == principal.user and record.tenant == tenant_text(principal)


def whose(principal: Principal) -> str:
    """What tells one owner of replicas from another, and nothing else of them."""
    owner = msgspec.json.encode([principal.user, tenant_text(principal)])
    return hashlib.sha256(owner).hexdigest()[:16]


def own_replica(tx: Transaction, principal: Principal, replica_id: str) -> ReplicaRecord:
    """The record of a replica that this principal registered. Raises UnknownReplicaError,
    alike for one that does not exist and for one of somebody else."""
    record = tx.replica(replica_id)
    if record is None or not is_owner(principal, record):
        raise UnknownReplicaError("This hub does not know the replica: register it again.")
    return record


def check_known(
    record: ReplicaRecord, *, known: int, known_id: str, answered: Collection[str]
) -> None:
    """Refuse a replica that was told more than this hub knows: its changes must come again.

    Numbers alone do not show it: if the hub was restored and the replica's file copied, the copy
    may have used the same numbers meanwhile. `answered` holds `known_id` if the hub has an outcome
    for it. Raises HubRestoredError.
    """
    if known > record.last_n or (known_id and known_id not in answered):
        raise HubRestoredError("This hub knows less than the replica was told.")


def lease_blocks(
    tx: WriteTransaction, tables: Tables, sizes: Mapping[str, int], replica_id: str
) -> tuple[KeyBlock, ...]:
    """A fresh block of about so many keys for each of these tables whose keys the database
    generates; none of a table that has no keys left."""
    blocks = []
    for name, size in sizes.items():
        schema = tables.schemas[name]
        if schema.generated_key:
            bounded = max(block_size(schema), min(size, KEY_BLOCK_MAX))
            if (leased := tx.lease(name, replica_id, size=bounded)) is not None:
                blocks.append(KeyBlock(table=name, first=leased[0], last=leased[1]))
    return tuple(blocks)


def register(
    store: Store,
    tables: Tables,
    principal: Principal,
    request: RegisterRequest,
    *,
    now_ms: int,
    new_id: str,
) -> RegisterAnswer:
    """Make a new identity for a file; each call makes another one.

    Raises UpgradeRequiredError, UnknownTableError, LimitExceededError, BadRequestError.
    """
    check_protocol(request.protocol)
    check_name(request.name)
    replica_id = new_id[:REPLICA_ID_LENGTH]
    with store.write() as tx:
        tables = tables.at(tx)
        asked = tables.asked(request.tables)
        for name in request.where:
            tables.schema(name, path=f"where.{name}")
        access = tables.access(principal)
        view = view_of(asked, request.tables, request.where, access, is_new=True)
        head = tx.head()
        tx.add_replica(
            ReplicaRecord(
                id=replica_id,
                principal=principal.user,
                name=request.name,
                last_n=0,
                known_n=0,
                created_ms=now_ms,
                seen_ms=now_ms,
                seen_seq=head.seq,
                tenant=tenant_text(principal),
            )
        )
        blocks = lease_blocks(tx, tables, dict.fromkeys(asked, 0), replica_id)
        mark = tx.mark()
    return RegisterAnswer(
        protocol=PROTOCOL_VERSION,
        replica=replica_id,
        epoch=head.epoch,
        tables=tuple(view.shown.values()),
        blocks=blocks,
        stamp=commit_stamp(max(now_ms, head.at_ms)),
        mark=mark,
        whose=whose(principal),
    )
