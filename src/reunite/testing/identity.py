"""Identities and nonces that can be repeated: chance from a seed."""

from __future__ import annotations

import random


class SeededIds:
    """A factory of 128-bit identities: each call gives 32 hexadecimal digits.

    seed   a number, or a `random.Random` that others draw from as well

    Fits wherever `new_id` or `new_nonce` is asked for. Two factories of one seed agree.
    """

    def __init__(self, seed: int | random.Random) -> None:
        self._random = seed if isinstance(seed, random.Random) else random.Random(seed)

    def __call__(self) -> str:
        """The next identity."""
        return f"{self._random.getrandbits(128):032x}"
