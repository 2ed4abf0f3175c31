"""Where the accepted definitions of tools are kept."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.ids import EndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDefinition:
    """One tool as it was accepted, and as it is now where that differs (`pending`).

    `digest` is that of `definition`; `held`: the tool is quarantined.
    """

    endpoint_id: EndpointId
    era: Era
    tool: str
    digest: str
    definition: dict[str, Any]
    accepted_at: datetime
    accepted_by: str
    pending_digest: str | None = None
    pending: dict[str, Any] | None = None
    pending_since: datetime | None = None
    held: bool = False


class DefinitionRepository(ABC):
    """Tool definitions of the transaction's workspace."""

    @abstractmethod
    async def put(self, definitions: list[StoredDefinition]) -> None:
        """Keep or replace definitions; those of endpoints that are no more are left out."""

    @abstractmethod
    async def of(self, endpoint_id: EndpointId) -> list[StoredDefinition]:
        """List an endpoint's definitions by tool and era."""

    @abstractmethod
    async def all(self) -> list[StoredDefinition]:
        """List every definition. They go with their endpoint."""
