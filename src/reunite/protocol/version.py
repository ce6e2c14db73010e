"""The protocol's version, its history, and the oldest one that this code still speaks.

| version | since | what changed        |
|       1 | 0.1.0 | the first protocol  |
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
PROTOCOL_VERSION_MIN = 1
