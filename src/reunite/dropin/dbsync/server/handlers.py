"""Why a handler refuses: what a route turns into an answer of 400."""

from __future__ import annotations


class PushRejected(Exception):  # noqa: N818 — a name of the original's
    """A push was refused, and nothing of it stored: `args` say why."""


class PullSuggested(PushRejected):
    """A push was refused because the node has not seen the latest version."""


class PullRejected(Exception):  # noqa: N818
    """What came is no pull request."""
