"""Secrets at rest: sealed values that only this hub can open."""

from abc import ABC, abstractmethod


class SecretBox(ABC):
    @abstractmethod
    def seal(self, plain: bytes, *, context: str) -> bytes:
        """Encrypt and authenticate `plain`; it opens only under the same `context`."""

    @abstractmethod
    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Decrypt. Raises SealBrokenError when the bytes, the key or the context differ."""


class SealBrokenError(Exception):
    """A sealed value was altered, or sealed under another key or context."""
