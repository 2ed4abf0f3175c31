"""Domain events: facts, past tense, small; they carry ids and never secrets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from agenthub.domain.ids import EndpointId, WorkspaceId


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent:
    """Something that happened in one workspace. `name` is its public type on the event feed."""

    name: ClassVar[str]
    workspace: WorkspaceId
    at: datetime

    def facts(self) -> dict[str, Any]:
        """Give the JSON-ready facts of this event, beside type, time and workspace."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatusChanged(DomainEvent):
    """An endpoint was added, removed, enabled, disabled, or its connection changed."""

    name: ClassVar[str] = "server.status"
    endpoint_id: EndpointId
    server: str
    status: str
    detail: str | None = None

    def facts(self) -> dict[str, Any]:
        return {
            "server_id": self.endpoint_id,
            "server": self.server,
            "status": self.status,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogChanged(DomainEvent):
    """The tools, resources or prompts of an endpoint or a group are no longer what they were."""

    name: ClassVar[str] = "catalog.changed"
    server: str | None
    kinds: tuple[str, ...]
    counts: dict[str, int]

    def facts(self) -> dict[str, Any]:
        return {"server": self.server, "kinds": list(self.kinds), "counts": self.counts}


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the feed. `id` grows without end; it is the SSE id."""

    id: int
    workspace: WorkspaceId
    at: datetime
    name: str
    facts: dict[str, Any]
