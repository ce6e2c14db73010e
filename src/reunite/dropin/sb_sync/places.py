"""Places of pulls as clients keep them: as a time, `last_sync`, or as a cursor, `next_cursor`.

    last_sync     an ISO time, another one for each place in an organization; `SyncStamp` has the
                  place behind it
    next_cursor   the place itself, signed for its user, organization and model
    any time      the commits since then

The rule         a time is only ever resolved to a place that misses nothing: one that we gave out
                 means the place that it was given for; of all others what changed then or later
                 comes, from the beginning where the log does not tell.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.core.signing import BadSignature, Signer
from django.db import IntegrityError, transaction
from django.utils.dateparse import parse_date, parse_datetime

from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.describing import READ_ONLY_MODELS
from reunite.dropin.sb_sync.errors import SyncError
from reunite.dropin.sb_sync.models import SyncStamp
from reunite.engine.feed import Place

# Stamps that are kept of a user's places in a model; older ones count as times.
STAMP_DAYS = 90

_CURSOR = "c."
_STAMP_TRIES_MAX = 10

_STEP = timedelta(microseconds=1)
_WIDTHS = (timedelta(milliseconds=1), timedelta(seconds=1), timedelta(hours=1))


class ListPlace(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader of one of Django's own models is: of which list, and how many rows of it."""

    digest: str
    read: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Place).decode
_decode_list = msgspec.json.Decoder(ListPlace).decode


class Given(msgspec.Struct, frozen=True):
    """Where a client is: a place, a time in milliseconds, or the beginning; the stamp that it
    sent for a place, and when that was."""

    place: Place | ListPlace | int | None = None
    stamp: datetime | None = None


def read_place(member: Member, label: str, value: Any) -> Given:
    """Where a client is that sent this for a model. Raises SyncError for what means nothing."""
    if value is None:
        return Given()
    if not isinstance(value, str):
        raise _meaningless(label)
    if value.startswith(_CURSOR):
        try:
            text = _signer(member, label).unsign(value.removeprefix(_CURSOR))
            return Given(_place(label, base64.urlsafe_b64decode(text)))
        except (BadSignature, ValueError, msgspec.MsgspecError):
            raise _meaningless(label) from None
    moment = _moment(value)
    if moment is None:
        raise _meaningless(label)
    found = SyncStamp.objects.using(member.using).filter(
        organization=member.organization, user=member.user, model_name=label, stamp=moment
    )
    for stamp in found:
        return Given(_place(label, stamp.place), moment)
    # What changed in that very millisecond comes again rather than never.
    return Given(int(moment.timestamp() * 1_000))


def cursor_text(member: Member, label: str, place: Place | ListPlace) -> str:
    """The place as a cursor."""
    text = base64.urlsafe_b64encode(_encode(place)).decode()
    return _CURSOR + _signer(member, label).sign(text)


def stamp_of(
    member: Member, label: str, place: Place | ListPlace, *, at_ms: int, is_end: bool
) -> str:
    """The place as a time.

    at_ms    a time from which on nothing is missed; the stamp is that or a little earlier
    is_end   nothing more was there: a good moment to forget old stamps
    """
    text = _encode(place).decode()
    whose: dict[str, Any] = {
        "user": member.user,
        "organization": member.organization,
        "model_name": label,
    }
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    stamps = SyncStamp.objects.using(member.using)
    for _ in range(_STAMP_TRIES_MAX):
        known = stamps.filter(**whose, place_hash=digest).values_list("stamp", flat=True).first()
        if known is not None:
            return iso_text(known)
        moment = _free(
            stamps.filter(organization=member.organization),
            datetime.fromtimestamp(at_ms / 1_000, UTC),
        )
        try:
            with transaction.atomic(using=member.using):
                stamps.create(**whose, stamp=moment, place=text, place_hash=digest)
        except IntegrityError:
            continue  # somebody else was quicker
        if is_end:
            old = datetime.now(UTC) - timedelta(days=STAMP_DAYS)
            stamps.filter(**whose, created_at__lt=old).delete()
        return iso_text(moment)
    raise SyncError("database", "The database is busy for the moment.")


def _free(stamps: Any, base: datetime) -> datetime:
    """A time that is no stamp yet: this one or one shortly before it, which misses nothing
    either."""
    for width in _WIDTHS:
        near = stamps.filter(stamp__gt=base - width, stamp__lte=base)
        first = near.order_by("stamp").values_list("stamp", flat=True).first()
        if first is None:
            return base
        if first - _STEP > base - width:
            return first - _STEP
    raise SyncError("database", "There are too many clients at this place: try again.")


def iso_text(moment: datetime) -> str:
    """A time in UTC as the API writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _place(label: str, text: str | bytes) -> Place | ListPlace:
    return _decode_list(text) if label in READ_ONLY_MODELS else _decode(text)


def _signer(member: Member, label: str) -> Signer:
    return Signer(salt=f"sb_sync.{member.user.pk}.{member.organization.pk}.{label}")


def _moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)) is not None:
            found = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if found is None:
            return None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _meaningless(label: str) -> SyncError:
    return SyncError(
        "validation",
        f"The value of {label} is no time and no cursor of an earlier answer.",
        context={"model": label},
    )
