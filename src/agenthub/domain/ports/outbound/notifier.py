"""Telling people outside the hub."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event, as a program (`event`, `facts`) and as a person (`title`, `body`) reads it."""

    id: str
    at: datetime
    event: str
    facts: dict[str, Any]
    title: str
    body: str


class Notifier(ABC):
    """Delivers notices of one kind of target. It does not retry."""

    kind: TargetKind

    @abstractmethod
    def check(self, target: NoticeTarget) -> None:
        """Raise InvalidError where the address cannot be one of this kind. Sends nothing."""

    @abstractmethod
    async def send(self, target: NoticeTarget, notice: Notice) -> None:
        """Deliver once. Raises UnavailableError, TimedOutError, UpstreamError, QuotaError.

        GoneError when the target wants no more notices, ever. No message holds a secret.
        """
