"""Sealed values, in every box."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agenthub.adapters.outbound.secrets.envelope import EnvelopeSecretBox
from agenthub.domain.ports.outbound.secrets import SealBrokenError, SecretBox
from tests.fakes.secrets import FakeSecretBox

MakeBox = Callable[[bytes], SecretBox]
FIRST, SECOND = b"1" * 32, b"2" * 32


def fake(key: bytes) -> SecretBox:
    return FakeSecretBox(key)


def envelope(key: bytes) -> SecretBox:
    return EnvelopeSecretBox(key=base64.b64encode(key).decode(), key_path=Path("/nowhere"))


@pytest.fixture(params=[fake, envelope])
def make(request: pytest.FixtureRequest) -> MakeBox:
    return request.param


@pytest.mark.parametrize("plain", [b"", b"secret", bytes(range(256)), os.urandom(100_000)])
def test_what_was_sealed_opens_again(make: MakeBox, plain: bytes) -> None:
    sealed = make(FIRST).seal(plain, context="here é")
    assert make(FIRST).open(sealed, context="here é") == plain


def test_a_sealed_value_does_not_show_what_it_holds(make: MakeBox) -> None:
    assert b"secret" not in make(FIRST).seal(b"a secret value", context="here")


def test_every_altered_byte_breaks_the_seal(make: MakeBox) -> None:
    box = make(FIRST)
    sealed = box.seal(b"secret", context="here")
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(SealBrokenError):
            box.open(bytes(altered), context="here")


def test_every_cut_breaks_the_seal(make: MakeBox) -> None:
    box = make(FIRST)
    sealed = box.seal(b"secret", context="here")
    for length in range(len(sealed)):
        with pytest.raises(SealBrokenError):
            box.open(sealed[:length], context="here")
    with pytest.raises(SealBrokenError):
        box.open(sealed + b"\x00", context="here")


def test_another_context_breaks_the_seal(make: MakeBox) -> None:
    box = make(FIRST)
    sealed = box.seal(b"secret", context="default|endpoints|1|secrets")
    with pytest.raises(SealBrokenError):
        box.open(sealed, context="default|endpoints|2|secrets")


def test_another_key_breaks_the_seal(make: MakeBox) -> None:
    sealed = make(FIRST).seal(b"secret", context="here")
    with pytest.raises(SealBrokenError):
        make(SECOND).open(sealed, context="here")
