"""A black-box suite of the protocol: cases that hold any hub to docs/protocol.md.

    cases         the register of cases, and what runs them
    wire          HTTP: requests as they are meant, and as they are not; every problem is checked
    peer          a replica in memory, as small as one can be
    described     one-request cases, read from requests.json, which other languages can read too
    registering, pulling, pushing, judging, merging, identity, viewing, repairing,
    transfer      conversations, in code

The rule         nothing here imports reunite, or anything outside the standard library: what the
                 suite knows of the protocol, it knows from docs/protocol.md.
"""
