"""Who is told of events when nobody looks."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agenthub.domain.ids import NoticeTargetId, WorkspaceId


class TargetKind(StrEnum):
    """A webhook of the operator's own, or any service that Apprise knows (mail, chat, push)."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeTarget:
    """Where notices go. `address` may hold secrets; `secret` signs webhooks.

    `events` are names of hub events. `cursor` is the last event told.
    """

    id: NoticeTargetId
    workspace: WorkspaceId
    name: str
    kind: TargetKind
    address: str
    secret: str = ""
    events: tuple[str, ...]
    enabled: bool = True
    cursor: int = 0
    last_fault: str | None = None
    created_at: datetime
    updated_at: datetime
