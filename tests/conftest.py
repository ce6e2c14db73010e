"""What all tests share: how thoroughly hypothesis searches.

`HYPOTHESIS_PROFILE=thorough make test` looks much longer. CI draws the same examples every time, so
that a red run is about the change; fresh examples are for people and for the simulator.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "thorough",
    deadline=None,
    max_examples=2_000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "dev")
)
