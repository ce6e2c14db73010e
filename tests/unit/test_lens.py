"""Lenses lead from one version of a table to another, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.lens import Add, Remove, Rename, backward, check_lenses, forward
from reunite.errors import BadRequestError

LENSES = [Rename(2, "name", "full_name"), Remove(3, "fax"), Add(4, "vip", default=False)]


def test_a_whole_row_of_the_first_version_becomes_one_of_the_newest() -> None:
    row = {"id": "1", "name": "Ada", "fax": "1"}
    assert forward(LENSES, row, since=1, is_whole=True) == {
        "id": "1", "full_name": "Ada", "vip": False,
    }  # fmt: skip


def test_an_update_gets_no_defaults() -> None:
    assert forward(LENSES, {"name": "Ada"}, since=1) == {"full_name": "Ada"}
    assert backward(LENSES, {"full_name": "Ada", "vip": True}, to=1) == {"name": "Ada"}


def test_a_version_takes_only_the_lenses_after_it() -> None:
    assert forward(LENSES, {"name": "n", "fax": "f"}, since=2) == {"name": "n"}
    assert backward(LENSES, {"full_name": "n", "vip": 1}, to=3) == {"full_name": "n"}


def test_an_older_version_reads_the_default_of_what_was_removed() -> None:
    lenses = [Remove(2, "fax", default="none")]
    assert backward(lenses, {"id": 1}, to=1, is_whole=True) == {"id": 1, "fax": "none"}


def test_without_a_version_a_name_that_is_used_again_means_the_later_field() -> None:
    lenses = [Rename(2, "name", "full_name"), Add(3, "name", default="")]
    assert forward(lenses, {"name": "n"}) == {"name": "n"}
    assert forward(lenses, {"name": "n"}, since=1) == {"full_name": "n"}


def test_without_a_version_the_new_name_wins_over_the_old_one() -> None:
    assert forward(LENSES, {"name": "old", "full_name": "new"}) == {"full_name": "new"}


@pytest.mark.parametrize("versions", [(1,), (3, 2), (0,)])
def test_versions_rise(versions: tuple[int, ...]) -> None:
    with pytest.raises(BadRequestError) as refused:
        check_lenses([Remove(version, "a") for version in versions], path="lenses.t")
    assert refused.value.path == f"lenses.t[{len(versions) - 1}]"
    check_lenses(LENSES, path="lenses.t")


@given(st.dictionaries(st.sampled_from(["id", "name", "b"]), st.integers()), st.integers(1, 4))
def test_fields_that_both_versions_have_come_back(fields: dict[str, int], version: int) -> None:
    of_version = backward(LENSES, forward(LENSES, fields, since=1), to=version)
    assert forward(LENSES, of_version, since=version) == forward(LENSES, fields, since=1)
