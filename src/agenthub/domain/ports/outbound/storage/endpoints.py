"""Where endpoints are kept."""

from abc import ABC, abstractmethod

from agenthub.domain.entities.endpoints import Endpoint
from agenthub.domain.ids import EndpointId


class EndpointRepository(ABC):
    """Endpoints of the transaction's workspace. Secrets in transports are sealed at rest."""

    @abstractmethod
    async def add(self, endpoint: Endpoint) -> None:
        """Keep a new endpoint. Raises ConflictError (code `name_taken`)."""

    @abstractmethod
    async def save(self, endpoint: Endpoint) -> None:
        """Replace an endpoint. Raises NotFoundError, or ConflictError (code `name_taken`)."""

    @abstractmethod
    async def remove(self, endpoint_id: EndpointId) -> None:
        """Forget an endpoint, and its memberships in groups. Raises NotFoundError."""

    @abstractmethod
    async def find(self, id_or_name: str) -> Endpoint | None:
        """Look up by id, then by name."""

    @abstractmethod
    async def page(self, *, limit: int, after: str | None) -> list[Endpoint]:
        """List by name, at most `limit`, those whose name sorts behind `after`."""
