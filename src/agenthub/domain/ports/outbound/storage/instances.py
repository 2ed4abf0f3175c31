"""Where the further addresses of servers are kept."""

from abc import ABC, abstractmethod

from agenthub.domain.entities.endpoints import Transport
from agenthub.domain.entities.instances import Instance
from agenthub.domain.ids import EndpointId, InstanceId


class InstanceRepository(ABC):
    """Instances of the transaction's workspace. Secrets in transports are sealed at rest.

    The instance that bears its endpoint's id has no transport of its own (None), and is kept
    only once its weight, priority or draining differs from the default.
    """

    @abstractmethod
    async def put(self, instance: Instance, transport: Transport | None) -> None:
        """Keep or replace an instance.

        Raises ConflictError (code `server_gone`) when the endpoint is no more.
        """

    @abstractmethod
    async def remove(self, instance_id: InstanceId) -> None:
        """Forget an instance. Raises NotFoundError (code `instance_not_found`)."""

    @abstractmethod
    async def of(self, endpoint_id: EndpointId) -> list[tuple[Instance, Transport | None]]:
        """List an endpoint's instances by id."""

    @abstractmethod
    async def all(self) -> list[tuple[Instance, Transport | None]]:
        """List every instance by id. They go with their endpoint."""
