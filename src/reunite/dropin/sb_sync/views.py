"""The API's views: one request in, one answer in JSON out.

    POST auth/token/     a name and a password for a token
    POST push/           items of models, which become rows
    POST pull/           rows that came after the client's places

The rule         what goes wrong is answered in the shapes of `errors`; what nobody expected is
                 logged here and answered without a word of it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from django.contrib.auth import authenticate
from django.db import Error as DjangoError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from reunite.contrib.django import hub as hub_of
from reunite.contrib.django.views import Always
from reunite.dropin.sb_sync import discovery, logs, pulling, pushing
from reunite.dropin.sb_sync.answers import Answer
from reunite.dropin.sb_sync.asking import (
    Member,
    asking_user,
    body_of,
    check_enabled,
    member_of,
    memberships_of,
)
from reunite.dropin.sb_sync.conf import named, value
from reunite.dropin.sb_sync.describing import described_models, in_order
from reunite.dropin.sb_sync.errors import SyncError, TokenError, TooManyError
from reunite.dropin.sb_sync.items import UID_LENGTH_MAX, name_changes, read_items
from reunite.dropin.sb_sync.limiting import check_login, count_failed_login, count_request
from reunite.dropin.sb_sync.models import PULL, PUSH, SyncLog, UserSyncMetadata
from reunite.dropin.sb_sync.recording import (
    Measured,
    measured,
    record,
)
from reunite.dropin.sb_sync.tokens import make_token
from reunite.errors import ReuniteError, StorageUnavailableError

_encode = msgspec.json.Encoder().encode

logger = logging.getLogger("sb_sync")

# A name and a password.
_TOKEN_BYTES_MAX = 64 * 1024

View = Callable[[HttpRequest], HttpResponse]


def answering(method: str) -> Callable[[View], View]:
    """Decorate a view of the API, for one method: errors are answered, and no session counts, so
    that no page of others can ask in somebody's name."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        def answer(request: HttpRequest) -> HttpResponse:
            if request.method != method:
                refused = SyncError("validation", f"Send this by {method}.", status=405).answer()
                refused["Allow"] = method
                return refused
            return _answered(view, request)

        # What a request stores is stored whole by itself.
        answer._non_atomic_requests = Always()
        return answer

    return decorate


def _answered(view: View, request: HttpRequest) -> HttpResponse:
    try:
        return view(request)
    except (SyncError, TokenError, TooManyError) as refusal:
        return refusal.answer()
    except (StorageUnavailableError, DjangoError):
        logger.exception("the database failed in %s", request.path)
        return SyncError("database", "The database cannot be used for the moment.").answer()
    except ReuniteError as error:
        return SyncError("validation", error.message).answer()
    except Exception:
        # The boundary: Django's own answer would tell a stranger of the project what it is.
        logger.exception("unexpected in %s", request.path)
        return SyncError("unknown", "Something unexpected happened; it was logged.").answer()


@answering("POST")
def token(request: HttpRequest) -> HttpResponse:
    """`POST auth/token/`: `{username, password}`, as JSON or as a form."""
    check_enabled()
    check_login(request)
    given = _credentials(request)
    missing = [name for name in ("username", "password") if not given.get(name)]
    if missing:
        raise SyncError(
            "validation",
            f"There is no {' and no '.join(missing)}.",
            context={"missing_fields": missing},
        )
    name, password = str(given["username"]), str(given["password"])
    user = authenticate(request, username=name, password=password)
    if user is None:
        count_failed_login(request)
        raise SyncError(
            "authentication", "This name and password do not match.", context={"username": name}
        )
    return JsonResponse(
        {
            "token": make_token(user),
            "user": {
                "id": user.pk,
                "username": user.get_username(),
                "email": getattr(user, user.get_email_field_name(), ""),
            },
            "organizations": [
                {
                    "id": one.organization_id,
                    "name": one.organization.name,
                    "slug": one.organization.slug,
                    "group": one.group.name,
                }
                for one in memberships_of(user)
            ],
        }
    )


@answering("POST")
def push(request: HttpRequest) -> HttpResponse:
    """`POST push/`: `{"data": [{"_model": …}, …]}`."""
    check_enabled()
    user = asking_user(request)
    count_request(str(user.pk))
    with measured() as measure:
        body = body_of(request)
        member = member_of(request, user, body)
        return _push(member, body, request.headers.get("Idempotency-Key", ""), measure)


def _push(member: Member, body: dict[str, Any], key: str, measure: Measured) -> HttpResponse:
    data, is_atomic = _data(body)
    if len(key) > UID_LENGTH_MAX:
        raise SyncError("validation", f"Idempotency-Key: at most {UID_LENGTH_MAX} characters.")
    summary = logs.summary_of(data)
    logs.note_push(member.user.get_username(), member.organization.name, data, summary)
    hub = hub_of(member.using)
    models = offered_models(hub)
    with hub.reading() as tx:
        schemas = hub.tables_at(tx).schemas
    items = read_items(data, models, schemas, member)
    name_changes(items, data, member, key)

    def bases() -> dict[str, int]:
        """What the member has seen all of, by model."""
        found = UserSyncMetadata.objects.using(member.using).filter(
            user=member.user, organization=member.organization, mark__gt=0
        )
        return dict(found.values_list("model_name", "mark"))

    def finish() -> None:
        answer = Answer(items)
        record(
            PUSH,
            member,
            answer.counts,
            measure,
            status=answer.logged_status,
            errors=answer.errors,
            summary=summary,
        )

    pushing.push_items(hub, member, items, is_atomic=is_atomic, bases=bases, finish=finish)
    answer = Answer(items)
    return _json(answer.body(seconds=measure.seconds), status=answer.http_status)


def _data(body: dict[str, Any]) -> tuple[list[Any], bool]:
    data, is_atomic = body.get("data"), body.get("atomic", False)
    if not isinstance(data, list) or not data:
        raise SyncError("validation", "data: a list of at least one object.")
    most = min(int(named("SB_SYNC_MAX_ITEMS")), int(value("CORE", "MAX_BATCH_SIZE")))
    if len(data) > most:
        raise SyncError("validation", f"data: at most {most} items at a time.", status=413)
    if not isinstance(is_atomic, bool):
        raise SyncError("validation", "atomic: true or false.")
    return data, is_atomic


@answering("POST")
def pull(request: HttpRequest) -> HttpResponse:
    """`POST pull/`: `{"models": {"app.Model": a time, a cursor or null}, "batch_size": 100}`."""
    check_enabled()
    user = asking_user(request)
    count_request(str(user.pk))
    with measured() as measure:
        body = body_of(request)
        return _pull(member_of(request, user, body), body, measure)


def _pull(member: Member, body: dict[str, Any], measure: Measured) -> HttpResponse:
    hub = hub_of(member.using)
    models = offered_models(hub)
    flags = pushing.flags_of(member)
    size = pulling.batch_size(body)
    order = in_order(models)
    wanted = pulling.wanted_models(
        body, [label for label in order if {"pull", "read"} <= set(flags(label))]
    )
    pulled = pulling.pull_models(
        hub,
        member,
        pushing.principal_of(member),
        wanted,
        models,
        flags,
        size=size,
        with_versions=body.get("include_versions") is True,
        order=order,
    )
    counts = {one.label: len(one.rows) for one in pulled if one.place is not None}
    with hub.database.write():
        before = UserSyncMetadata.objects.using(member.using).filter(
            user=member.user, organization=member.organization
        )
        pulling.note_places(member, pulled, dict(before.values_list("model_name", "last_sync")))
        record(
            PULL,
            member,
            counts,
            measure,
            status=SyncLog.SUCCESS,
            marks={one.label: 0 if one.has_more else one.mark for one in pulled if one.place},
        )
    total = sum(counts.values())
    logs.note_pull(member.user.get_username(), member.organization.name, total)
    answer: dict[str, Any] = {
        "data": [row for one in pulled for row in one.rows],
        "metadata": {one.label: one.metadata for one in pulled},
        "batch_info": {
            "batch_size": size,
            "total_records": total,
            "has_more": any(one.has_more for one in pulled),
        },
    }
    gone = [row for one in reversed(pulled) for row in one.gone]
    if gone:
        answer["deleted"] = gone
    return _json(answer)


def offered_models(hub: Any) -> Mapping[str, Any]:
    """The models of a hub that the API offers now."""
    enabled = discovery.enabled()
    return {label: one for label, one in described_models(hub).items() if label in enabled}


def _json(body: Any, *, status: int = 200) -> HttpResponse:
    return HttpResponse(_encode(body), status=status, content_type="application/json")


def _credentials(request: HttpRequest) -> Any:
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        if int(request.META.get("CONTENT_LENGTH") or 0) > _TOKEN_BYTES_MAX:
            raise SyncError("validation", "A name and a password are shorter.", status=413)
        return request.POST
    return body_of(request, bytes_max=_TOKEN_BYTES_MAX)
