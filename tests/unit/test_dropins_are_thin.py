"""Drop-ins are calls over the engine: their share of the code has a limit, and they log nothing."""

from pathlib import Path

import pytest

import reunite

SOURCE = Path(reunite.__file__).parent
DROPINS = sorted(path for path in (SOURCE / "dropin").iterdir() if (path / "__init__.py").exists())

# Of all lines of the package, for one drop-in.
SHARE_MAX = 0.10


def lines(folder: Path) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py"))


@pytest.mark.parametrize("folder", DROPINS, ids=lambda folder: folder.name)
def test_a_dropin_is_a_small_part_of_the_code(folder: Path) -> None:
    share = lines(folder) / lines(SOURCE)
    assert share <= SHARE_MAX, f"{share:.0%}: give the engine what the drop-in needs, or cut it"


def test_dbsync_has_no_log_and_no_merge_of_its_own() -> None:
    for path in (SOURCE / "dropin" / "dbsync").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "merge_row" not in text, path
        assert "insert into reunite_change" not in text, path
