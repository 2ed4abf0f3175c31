"""A box that hides and guards well enough for tests, without a cipher."""

import hashlib
import hmac

from agenthub.domain.ports.outbound.secrets import SealBrokenError, SecretBox

_MASK = 0x5A
_TAG_BYTES = 32


class FakeSecretBox(SecretBox):
    """Masks the bytes and signs them together with their context."""

    def __init__(self, key: bytes = b"a fake key") -> None:
        self._key = key

    def seal(self, plain: bytes, *, context: str) -> bytes:
        return self._tag(plain, context) + bytes(byte ^ _MASK for byte in plain)

    def open(self, sealed: bytes, *, context: str) -> bytes:
        plain = bytes(byte ^ _MASK for byte in sealed[_TAG_BYTES:])
        if not hmac.compare_digest(sealed[:_TAG_BYTES], self._tag(plain, context)):
            raise SealBrokenError("altered, or of another key or context")
        return plain

    def _tag(self, plain: bytes, context: str) -> bytes:
        return hmac.digest(self._key, context.encode() + b"\x00" + plain, hashlib.sha256)
