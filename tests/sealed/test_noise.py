"""The handshake of the sealed door, held to the published vectors, and attacked."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.server.sealed.noise import (
    KEY_BYTES,
    MESSAGE_BYTES_MAX,
    Cipher,
    Ciphers,
    Initiator,
    NoiseError,
    Responder,
)

VECTORS = Path(__file__).parents[2] / "conformance" / "noise" / "nnpsk0.json"
CASES = json.loads(VECTORS.read_text())["cases"]

PSK = bytes(range(KEY_BYTES))
MINE = b"\x11" * KEY_BYTES
THEIRS = b"\x22" * KEY_BYTES


def ends(
    *, psk: bytes = PSK, other_psk: bytes = PSK, prologue: bytes = b"", other: bytes = b""
) -> tuple[Initiator, Responder]:
    return (
        Initiator(psk, ephemeral=MINE, prologue=prologue),
        Responder(other_psk, ephemeral=THEIRS, prologue=other),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_published_vector_is_met_byte_by_byte(case: dict[str, Any]) -> None:
    given_, expect = case["given"], case["expect"]
    psk, prologue = bytes.fromhex(given_["psk"]), bytes.fromhex(given_["prologue"])
    initiator = Initiator(
        psk, ephemeral=bytes.fromhex(given_["initiator_ephemeral"]), prologue=prologue
    )
    responder = Responder(
        psk, ephemeral=bytes.fromhex(given_["responder_ephemeral"]), prologue=prologue
    )
    payloads = [bytes.fromhex(text) for text in given_["payloads"]]
    first = initiator.write(payloads[0])
    assert initiator.hash == bytes.fromhex(expect["first_hash"])
    assert responder.read(first) == payloads[0]
    second = responder.write(payloads[1])
    assert initiator.read(second) == payloads[1]
    assert initiator.hash == responder.hash
    assert initiator.ciphers is not None
    assert responder.ciphers is not None
    messages = [first, second]
    turns: list[tuple[Ciphers, Ciphers]] = [
        (initiator.ciphers, responder.ciphers),
        (responder.ciphers, initiator.ciphers),
    ]
    for index, payload in enumerate(payloads[2:]):
        writer, reader = turns[index % 2]
        message = writer.sending.seal(index // 2, payload)
        assert reader.receiving.open(index // 2, message) == payload
        messages.append(message)
    assert [message.hex() for message in messages] == expect["messages"]


def test_another_key_gets_no_further_than_the_first_message() -> None:
    initiator, responder = ends(other_psk=bytes(KEY_BYTES))
    with pytest.raises(NoiseError):
        responder.read(initiator.write(b"hello"))


def test_ends_that_do_not_agree_on_the_prologue_do_not_understand_each_other() -> None:
    initiator, responder = ends(prologue=b"key 1", other=b"key 2")
    with pytest.raises(NoiseError):
        responder.read(initiator.write())


def test_an_answer_by_somebody_without_the_key_is_refused() -> None:
    initiator, _ = ends()
    stranger = Responder(bytes(KEY_BYTES), ephemeral=THEIRS)
    other = Initiator(bytes(KEY_BYTES), ephemeral=MINE)
    initiator.write()
    stranger.read(other.write())
    with pytest.raises(NoiseError):
        initiator.read(stranger.write())


@pytest.mark.parametrize("length", [0, KEY_BYTES, KEY_BYTES + 15, MESSAGE_BYTES_MAX + 1])
def test_messages_of_impossible_lengths_are_refused(length: int) -> None:
    initiator, responder = ends()
    with pytest.raises(NoiseError):
        responder.read(bytes(length))
    with pytest.raises(NoiseError):
        initiator.read(bytes(length))


def test_a_public_key_of_low_order_is_refused() -> None:
    initiator, responder = ends()
    initiator.write()
    with pytest.raises(NoiseError):
        initiator.read(bytes(KEY_BYTES) + b"x" * 32)
    # A stranger who knows the key may still not make the secret one that everybody knows.
    low = Initiator(PSK, ephemeral=MINE)
    low._symmetric.mix_public(bytes(KEY_BYTES))
    responder.read(bytes(KEY_BYTES) + low._symmetric.seal(b""))
    with pytest.raises(NoiseError):
        responder.write()


@given(st.data())
def test_one_changed_bit_breaks_the_seal(data: st.DataObject) -> None:
    cipher = Cipher(PSK)
    number = data.draw(st.integers(0, 2**64 - 2))
    text, bound = data.draw(st.binary(max_size=64)), data.draw(st.binary(max_size=16))
    sealed = bytearray(cipher.seal(number, text, bound))
    assert cipher.open(number, bytes(sealed), bound) == text
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << (at % 8)
    with pytest.raises(NoiseError):
        cipher.open(number, bytes(sealed), bound)


@given(st.integers(0, 2**64 - 2), st.integers(0, 2**64 - 2))
def test_a_message_opens_under_its_own_number_only(number: int, other: int) -> None:
    sealed = Cipher(PSK).seal(number, b"text")
    if number == other:
        assert Cipher(PSK).open(other, sealed) == b"text"
    else:
        with pytest.raises(NoiseError):
            Cipher(PSK).open(other, sealed)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Initiator(b"short", ephemeral=MINE)
