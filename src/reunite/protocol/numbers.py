"""Numbers of messages, with the bounds that every database keeps: 64 bits with a sign."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from reunite.core.values import INTEGER_MAX

# A replica's own number or a change id of the hub; 0 stands before the first.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]

# From 1 on.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
