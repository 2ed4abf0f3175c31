"""Where API keys are kept."""

from abc import ABC, abstractmethod

from agenthub.domain.entities.identity import ApiKey
from agenthub.domain.ids import KeyId


class KeyRepository(ABC):
    """Keys of the transaction's workspace; the secret itself is never kept."""

    @abstractmethod
    async def add(self, key: ApiKey) -> None:
        """Keep a new key.

        Raises ConflictError (code `group_gone`) when the group it is bound to is no more.
        """

    @abstractmethod
    async def remove(self, key_id: KeyId) -> None:
        """Forget a key. Raises NotFoundError."""

    @abstractmethod
    async def find(self, key_id: KeyId) -> ApiKey | None:
        """Look up by id."""

    @abstractmethod
    async def page(self, *, limit: int, after: str | None) -> list[ApiKey]:
        """List by id (oldest first), at most `limit`, those whose id sorts behind `after`."""


class KeyLookup(ABC):
    """Finds the key of a presented secret, before any workspace is known."""

    @abstractmethod
    async def by_hash(self, secret_sha256: str) -> ApiKey | None:
        """Look up by the hex SHA-256 of the secret, in all workspaces."""
