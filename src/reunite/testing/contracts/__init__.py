"""Contract suites: what an adapter of a port must do, as tests. They need pytest.

An adapter is finished when its suite is green. A test module subclasses the suite and says what
the subject is; backend names appear nowhere else:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def subject(self) -> Iterator[StoreSubject]: ...

The suite of a store is in several files, one a family of promises of `engine/ports.py`.
"""

import pytest

for _module in (
    "applying",
    "auditing",
    "capture",
    "choosing",
    "directory",
    "feeds",
    "keeping",
    "numbering",
    "reading",
    "replicas",
):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from reunite.testing.contracts.applying import ApplyingContract  # noqa: E402
from reunite.testing.contracts.auditing import AuditingContract  # noqa: E402
from reunite.testing.contracts.capture import CaptureContract  # noqa: E402
from reunite.testing.contracts.choosing import ChoosingContract  # noqa: E402
from reunite.testing.contracts.directory import DirectoryRecordsContract  # noqa: E402
from reunite.testing.contracts.feeds import FeedContract, FeedSubject  # noqa: E402
from reunite.testing.contracts.keeping import KeepingContract  # noqa: E402
from reunite.testing.contracts.numbering import NumberingContract  # noqa: E402
from reunite.testing.contracts.reading import ReadingContract  # noqa: E402
from reunite.testing.contracts.replicas import ReplicasContract  # noqa: E402
from reunite.testing.contracts.tables import (  # noqa: E402
    STANDARD_DDL_POSTGRESQL,
    STANDARD_DDL_SQLITE,
    STANDARD_SCHEMAS,
    StoreSubject,
    Writer,
)


class StoreContract(
    CaptureContract,
    NumberingContract,
    ReadingContract,
    ChoosingContract,
    ApplyingContract,
    ReplicasContract,
    KeepingContract,
    AuditingContract,
    DirectoryRecordsContract,
):
    """Every promise of `Store` and its transactions. The subclass has a fixture `subject`."""


__all__ = [
    "STANDARD_DDL_POSTGRESQL",
    "STANDARD_DDL_SQLITE",
    "STANDARD_SCHEMAS",
    "FeedContract",
    "FeedSubject",
    "StoreContract",
    "StoreSubject",
    "Writer",
]
