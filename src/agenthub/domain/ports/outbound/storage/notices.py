"""Where the targets of notifications are kept."""

from abc import ABC, abstractmethod

from agenthub.domain.entities.notices.target import NoticeTarget
from agenthub.domain.ids import NoticeTargetId


class NoticeTargetRepository(ABC):
    """Targets of the transaction's workspace. Address and secret are sealed at rest."""

    @abstractmethod
    async def add(self, target: NoticeTarget) -> None:
        """Keep a new target. Raises ConflictError (code `name_taken`)."""

    @abstractmethod
    async def save(self, target: NoticeTarget) -> None:
        """Replace a target. Raises NotFoundError (`target_not_found`), ConflictError."""

    @abstractmethod
    async def advance(self, target_id: NoticeTargetId, cursor: int, fault: str | None) -> None:
        """Note up to which event a target was told, and why the last attempt failed, if it did."""

    @abstractmethod
    async def remove(self, target_id: NoticeTargetId) -> None:
        """Forget a target. Raises NotFoundError (code `target_not_found`)."""

    @abstractmethod
    async def all(self) -> list[NoticeTarget]:
        """List every target by name."""
