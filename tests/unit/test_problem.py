"""Errors survive the wire: each class has a row in the table, and comes back as it was."""

import inspect
import json

import pytest

from reunite import errors
from reunite.errors import (
    ConstraintError,
    HubUnreachableError,
    LimitExceededError,
    ReuniteError,
    SealError,
    Veto,
)
from reunite.protocol.codec import decode, encode
from reunite.protocol.problem import (
    CONSTRAINT_CODES,
    HTTP_KINDS,
    KINDS,
    RATE_LIMITS,
    SEAL_CODES,
    Problem,
    codes,
    error_from,
    http_problem,
    problem_from,
)

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, ReuniteError)
]


def example_of(kind: type[ReuniteError]) -> ReuniteError:
    if kind is LimitExceededError:
        return LimitExceededError("too much", limit="PUSH_CHANGES_MAX", path="groups[3]")
    if kind is ConstraintError:
        return ConstraintError("taken", code="unique", table="planes", columns=["tailnum"])
    if kind is SealError:
        return SealError("shut", code="door-closed")
    if kind is HubUnreachableError:
        return HubUnreachableError("gone", retry_after_s=2.5, has_answered=True)
    return kind("it went wrong", path="groups[0].runs[1]")


def fields_of(error: ReuniteError) -> dict[str, object]:
    return {**vars(error), "code": error.code, "text": str(error)}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_has_a_status_of_its_own(kind: type[ReuniteError]) -> None:
    assert kind in KINDS, f"give {kind.__name__} a row in reunite.protocol.problem.KINDS"
    assert 400 <= KINDS[kind].status < 600


def test_codes_are_unique() -> None:
    own = [kind.code for kind in CLASSES if kind not in (ConstraintError, SealError)]
    every = [*own, *CONSTRAINT_CODES, *SEAL_CODES, *HTTP_KINDS]
    assert len(set(every)) == len(every)
    assert set(codes()) == set(every)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_it_was(kind: type[ReuniteError]) -> None:
    error = example_of(kind)
    returned = error_from(decode(encode(problem_from(error)), Problem))
    assert type(returned) is kind
    assert fields_of(returned) == fields_of(error)


@pytest.mark.parametrize("code", SEAL_CODES)
def test_every_code_of_a_sealed_door_comes_back(code: str) -> None:
    returned = error_from(problem_from(SealError("no", code=code)))
    assert isinstance(returned, SealError)
    assert returned.code == code


@pytest.mark.parametrize("code", CONSTRAINT_CODES)
def test_every_constraint_code_comes_back(code: str) -> None:
    returned = error_from(problem_from(ConstraintError("no", code=code, columns=["a", "b"])))
    assert isinstance(returned, ConstraintError)
    assert (returned.code, returned.columns) == (code, ("a", "b"))


def test_a_problem_is_what_rfc_9457_asks_for() -> None:
    problem = json.loads(encode(problem_from(errors.BadRequestError("no", path="groups[0]"))))
    assert problem == {
        "type": "urn:reunite:problem:bad-request",
        "title": "The request is malformed",
        "status": 400,
        "code": "bad-request",
        "detail": "no",
        "path": "groups[0]",
    }


def test_a_class_of_the_users_travels_as_its_base() -> None:
    class CreditLimitVeto(Veto):
        """A hook's own."""

    returned = error_from(problem_from(CreditLimitVeto("no credit")))
    assert type(returned) is Veto
    assert str(returned) == "no credit"


@pytest.mark.parametrize("limit", sorted(RATE_LIMITS))
def test_rates_are_429_and_say_when_to_come_back(limit: str) -> None:
    problem = problem_from(LimitExceededError("busy", limit=limit))
    assert problem.status == 429
    assert problem.retry_after_s is not None


def test_temporary_failures_say_when_to_come_back() -> None:
    problem = problem_from(errors.StorageUnavailableError("locked"))
    assert problem.status == 503
    assert problem.retry_after_s is not None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.CallerError),
        (401, errors.NotAuthenticatedError),
        (403, errors.NotAllowedError),
        (404, errors.CallerError),
        (409, errors.PeerError),
        (418, errors.CallerError),
        (426, errors.UpgradeRequiredError),
        (429, errors.HubUnreachableError),
        (500, errors.HubUnreachableError),
        (503, errors.HubUnreachableError),
    ],
)
def test_an_unknown_code_is_understood_by_its_status_and_kept(
    status: int, kind: type[ReuniteError]
) -> None:
    problem = Problem(type="about:blank", title="?", status=status, code="of-tomorrow", detail="?")
    returned = error_from(problem)
    assert type(returned) is kind
    assert returned.code == "of-tomorrow"
    assert kind.code != "of-tomorrow", "only the instance has the unknown code"


def test_a_newer_problem_with_more_fields_can_be_read() -> None:
    message = json.loads(encode(http_problem("internal", "It failed.", incident="1f2e")))
    error = error_from(decode(json.dumps(message | {"hint": "new"}).encode(), Problem))
    assert isinstance(error, HubUnreachableError)
    assert "1f2e" in str(error)
