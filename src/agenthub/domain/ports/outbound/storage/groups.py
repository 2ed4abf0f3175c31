"""Where groups are kept."""

from abc import ABC, abstractmethod

from agenthub.domain.entities.groups import Group
from agenthub.domain.ids import GroupId


class GroupRepository(ABC):
    """Groups of the transaction's workspace, with their members."""

    @abstractmethod
    async def add(self, group: Group) -> None:
        """Keep a new group.

        Raises ConflictError (codes `slug_taken`; `server_gone` when a member is no server).
        """

    @abstractmethod
    async def save(self, group: Group) -> None:
        """Replace a group and its members. Raises NotFoundError, or ConflictError as `add` does."""

    @abstractmethod
    async def remove(self, group_id: GroupId) -> None:
        """Forget a group; keys bound to it are removed too. Raises NotFoundError."""

    @abstractmethod
    async def find(self, id_or_slug: str) -> Group | None:
        """Look up by id, then by slug."""

    @abstractmethod
    async def page(self, *, limit: int, after: str | None) -> list[Group]:
        """List by slug, at most `limit`, those whose slug sorts behind `after`."""
