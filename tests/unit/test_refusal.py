"""Reasons of refusals, and which of them name a secret."""

import pytest

from reunite.core.refusal import names_secret, refusal_text

KNOWN = ("id", "name", "token_count", "api_key_id")


def reason(code: str, *columns: str, check: str | None = None, said: str = "") -> str:
    return refusal_text(code, said, table="t", columns=columns, check=check)


@pytest.mark.parametrize(
    "told",
    [
        reason("unique", "name", "pin"),
        reason("not-null", "password"),
        reason("check", check="length(ssn) > 3"),
        reason("check", check="t_api_key_check"),
        reason("check", check="t_token_count_api_key_check"),
        reason("unique", said="UNIQUE constraint failed: index 't_lower_api_key'"),
        reason("unique", said='violates exclusion constraint "t_authToken_excl"'),
        f"Another change of the same transaction was rejected: {reason('unique', 'otp')}",
    ],
)
def test_a_reason_that_names_a_secret_is_known(told: str) -> None:
    assert names_secret(told, known=KNOWN)
    tracked = ("pin", "password", "ssn", "api_key", "authToken", "otp")
    assert not names_secret(told, known=(*KNOWN, *tracked))


@pytest.mark.parametrize(
    "told",
    [
        reason("unique", "name", "id"),
        reason("not-null", "token_count"),
        reason("check", check="t_token_count_check"),
        reason("check", check="api_key_id > 0 and token_count < 9"),
        reason("foreign-key"),
        reason("check", said="You may not pass without a token: the pin is wrong."),
    ],
)
def test_other_reasons_are_passed_on(told: str) -> None:
    assert not names_secret(told, known=KNOWN)
