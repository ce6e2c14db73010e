"""The sealed door: the whole protocol through one URL, encrypted and authenticated without a
certificate.

    noise.py       the handshake, `Noise_NNpsk0_25519_AESGCM_SHA256` as published
    frames.py      what both ends write after it: sealed frames, each with its number
    sessions.py    who has shaken hands, and which of their frames came already
    keys.py        the tokens that open the door, encrypted at rest, replaced in time
    door.py        the ASGI application in front of another one

The rule           nothing here is home-made cryptography: the handshake is held to the published
                   vector, and what is sealed after it is Noise's transport messages, with numbers
                   that travel beside them (section 11.4 of its paper).
"""

from reunite.server.sealed.door import SealedDoor
from reunite.server.sealed.keys import DoorKeys

__all__ = ["DoorKeys", "SealedDoor"]
