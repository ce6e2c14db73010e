"""What looks like a secret, and a table's schema without it."""

from __future__ import annotations

import pytest

from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema, Unique
from reunite.core.withheld import (
    check_key_tells_nothing,
    looks_secret,
    withheld_sentence,
    without_secrets,
)
from reunite.errors import UntrackableTableError

SECRETS = (
    "password password_hash passwordHash hashedPassword portal_password userPwd passwd "
    "apiKey api_key APIKEY apikey access_keys refresh_token token tokens CSRFToken otp_secret "
    "session_key private-key ssn social_security_number cvv card_number salt recovery_codes "
    "password2 apikey2 passwordhash refreshtoken accesstoken clientsecret securityanswer auth_key "
    "ssh_key pass pin has_password_hash userpassword"
)
PLAIN = (
    "name monkey tokenizer keyboard key author keys secretary passage assault lotpe crossness "
    "is_secret has_password password_changed_at token_count token_id token_type secret_until "
    "api_key_name isSecret max_tokens prompt_tokens token_total spin compass passing opinion "
    "tokens_at"
)


@pytest.mark.parametrize("name", SECRETS.split())
def test_a_secrets_name_is_known_in_every_spelling(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", PLAIN.split())
def test_what_is_said_about_a_secret_is_none(name: str) -> None:
    assert not looks_secret(name)


def column(name: str, kind: ColumnType = ColumnType.TEXT, **more: object) -> Column:
    return Column(name=name, type=kind, **more)  # type: ignore[arg-type]


ACCOUNT = TableSchema(
    name="account",
    columns=(
        column("token", nullable=False),
        column("password", nullable=False),
        column("api_key"),
        column("owner_token"),
        column("secret", ColumnType.BOOLEAN),
        column("name"),
    ),
    key=("token",),
    uniques=(Unique(columns=("name", "api_key")), Unique(columns=("name",))),
    foreign_keys=(
        ForeignKey(columns=("owner_token",), parent="account", parent_columns=("token",)),
        ForeignKey(columns=("name",), parent="other", parent_columns=("api_key",)),
    ),
)


def keys(table: str) -> tuple[str, ...]:
    return {"account": ("token",)}.get(table, ("id",))


def test_keys_pointers_and_booleans_stay_and_what_needs_a_secret_goes_with_it() -> None:
    schema, withheld = without_secrets(ACCOUNT, named=(), key_of=keys)
    assert [each.name for each in withheld] == ["password", "api_key"]
    assert schema.column_names == ("token", "owner_token", "secret", "name")
    assert [unique.columns for unique in schema.uniques] == [("name",)]
    assert [key.parent for key in schema.foreign_keys] == ["account"]
    told = withheld_sentence("account", withheld)
    assert "include=['password', 'api_key']" in told
    assert "--include account.password" in told
    assert "since password cannot be NULL" in told


def test_what_somebody_names_is_tracked() -> None:
    schema, withheld = without_secrets(ACCOUNT, named=["api_key", "password"], key_of=keys)
    assert withheld == ()
    assert (schema.columns, schema.uniques) == (ACCOUNT.columns, ACCOUNT.uniques)


def test_a_table_that_nobody_named_has_no_secret_for_a_key() -> None:
    with pytest.raises(UntrackableTableError, match=r"--include account\.token"):
        check_key_tells_nothing(ACCOUNT)
    check_key_tells_nothing(ACCOUNT, ["token"])
