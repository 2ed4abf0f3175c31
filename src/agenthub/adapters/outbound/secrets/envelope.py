"""Sealed values: AES-256-GCM under a key that lives in a file of the data folder, or is given."""

import base64
import binascii
import hashlib
import logging
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agenthub.domain.exceptions import HubError
from agenthub.domain.ports.outbound.secrets import SealBrokenError, SecretBox

_logger = logging.getLogger(__name__)

KEY_BYTES = 32
_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEAD_BYTES = len(_VERSION) + _KEY_ID_BYTES
_BODY_AT = _HEAD_BYTES + _NONCE_BYTES
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")


class EnvelopeSecretBox(SecretBox):
    """Seals as: version (1 byte), key id (8), nonce (12), ciphertext with its tag (16).

    `key` is 32 bytes in base64 or hex; without it the key is read from `key_path`, where the first
    use makes one. `former_keys` only open: put the old key there, set a new one, and seal each
    value again. The context, the version and the key id are authenticated with the value.
    A random 96-bit nonce is safe for 2^32 values under one key (NIST SP 800-38D, section 8.3).
    """

    def __init__(
        self, *, key_path: Path, key: str | None = None, former_keys: tuple[str, ...] = ()
    ) -> None:
        self._key_path = key_path
        self._key = key
        self._former_keys = former_keys
        self._ring: dict[bytes, AESGCM] = {}
        self._current = b""

    def seal(self, plain: bytes, *, context: str) -> bytes:
        """Encrypt. Raises HubError (code `secret_key_invalid`) when there is no usable key."""
        ring = self._loaded()
        head = _VERSION + self._current
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + ring[self._current].encrypt(nonce, plain, head + context.encode())

    def open(self, sealed: bytes, *, context: str) -> bytes:
        ring = self._loaded()
        head, nonce, body = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:_BODY_AT], sealed[_BODY_AT:]
        if not head.startswith(_VERSION) or len(nonce) != _NONCE_BYTES:
            raise SealBrokenError("The bytes are no sealed value.")
        cipher = ring.get(head[len(_VERSION) :])
        if cipher is None:
            raise SealBrokenError("It was sealed under a key that this hub does not have.")
        try:
            return cipher.decrypt(nonce, body, head + context.encode())
        except InvalidTag as error:
            raise SealBrokenError("It was altered, or belongs to something else.") from error

    def _loaded(self) -> dict[bytes, AESGCM]:
        if not self._ring:
            current = parse_key(self._key or _kept_key(self._key_path))
            ring = {_key_id(key): AESGCM(key) for key in map(parse_key, self._former_keys)}
            self._current = _key_id(current)
            self._ring = {**ring, self._current: AESGCM(current)}
        return self._ring


def parse_key(text: str) -> bytes:
    """Read a key of 32 bytes from base64 (of either alphabet) or hex.

    Raises HubError (code `secret_key_invalid`); its message does not hold the text.
    """
    word = text.strip()
    try:
        if _HEX_KEY.fullmatch(word):
            return bytes.fromhex(word)
        padded = word.replace("-", "+").replace("_", "/") + "=" * (-len(word) % 4)
        key = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise HubError(
            "The secret key must be 32 bytes in base64 or hex.", code="secret_key_invalid"
        )
    return key


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"agenthub key id\x00" + key).digest()[:_KEY_ID_BYTES]


def _kept_key(path: Path) -> str:
    """Read the key file; make it, for this user alone, if there is none."""
    try:
        if not path.exists():
            _make_key(path)
        if path.stat().st_mode & 0o077:
            _logger.warning("The key file was open to other users; it is closed now.")
            path.chmod(0o600)
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise HubError(
            f"The key file {path} cannot be used: {error}", code="secret_key_invalid"
        ) from error


def _make_key(path: Path) -> None:
    """Write a new key, durably, before anything is sealed with it.

    A link never replaces a file, so of two hubs that start at once both use the first one's key.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
