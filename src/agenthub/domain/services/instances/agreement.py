"""Whether the instances of a server offer the same tools, so that one can stand in for another."""

from agenthub.domain.entities.catalog.digest import tools_digest
from agenthub.domain.entities.catalog.listing import EMPTY, Catalog, ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, Era
from agenthub.domain.entities.instances import Instance
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.services.directory import Directory

MAX_NAMED = 5


class Agreement:
    """Compares tools by their digests. The server's own address sets the measure once it was
    read, else the first instance that was.
    """

    def __init__(self, *, client: McpClient, directory: Directory) -> None:
        self._client = client
        self._directory = directory
        self._digests: dict[EndpointId, tuple[Catalog, dict[str, str]]] = {}

    def differing(self, endpoint_id: EndpointId) -> dict[InstanceId, tuple[str, ...]]:
        """Name the tools in which instances differ from the measure. Unread ones do not differ."""
        instances = self._directory.instances(endpoint_id)
        measure = self._measure(instances)
        if measure is None:
            return {}
        found = {one.id: self._difference(measure, one.id) for one in instances}
        return {one: tools for one, tools in found.items() if tools}

    def difference(self, endpoint_id: EndpointId, candidate: EndpointId) -> tuple[str, ...]:
        """Name the tools in which a candidate differs from the endpoint's instances."""
        measure = self._measure(self._directory.instances(endpoint_id))
        return () if measure is None else self._difference(measure, candidate)

    def forget(self, instance_id: InstanceId) -> None:
        self._digests.pop(instance_id, None)

    def _measure(self, instances: tuple[Instance, ...]) -> InstanceId | None:
        return next((one.id for one in instances if self._is_read(one.id)), None)

    def _difference(self, measure: EndpointId, other: EndpointId) -> tuple[str, ...]:
        if measure == other or not self._is_read(other):
            return ()
        mine, its = self._digest(measure), self._digest(other)
        return tuple(sorted(name for name in {*mine, *its} if mine.get(name) != its.get(name)))

    def _is_read(self, instance_id: EndpointId) -> bool:
        """A server that is ready was read, however little it offers."""
        if self._client.state(instance_id).status is ConnectionStatus.READY:
            return True
        return self._client.catalog(instance_id, Era.MODERN) != EMPTY

    def _digest(self, instance_id: EndpointId) -> dict[str, str]:
        """Hash once per catalogue: they are replaced, never changed."""
        catalog = self._client.catalog(instance_id, Era.MODERN)
        kept = self._digests.get(instance_id)
        if kept is None or kept[0] is not catalog:
            kept = self._digests[instance_id] = (catalog, tools_digest(catalog.of(ItemKind.TOOLS)))
        return kept[1]


def named(tools: tuple[str, ...]) -> str:
    """List the first few of the tools, for a person to read."""
    more = len(tools) - MAX_NAMED
    return ", ".join(tools[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
