# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""What the container makes, typed: from here on the type checker sees everything."""

from dataclasses import dataclass

from dependency_injector import providers

from agenthub.adapters.inbound.http.app import RestFace
from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.face import McpFace
from agenthub.adapters.inbound.web.static import Dashboard
from agenthub.config.container import AgentHubContainer
from agenthub.config.lifespan import Resident
from agenthub.config.settings import Settings
from agenthub.domain.ports.outbound.mcp_client import McpClient, McpListener
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Parts:
    """The built hub. `residents` stand in the order of starting."""

    client: McpClient
    dashboard: Dashboard
    hub: Hub
    listeners: tuple[McpListener, ...]
    mcp: McpFace
    residents: tuple[Resident, ...]
    rest: RestFace
    uow: UnitOfWork


def build(settings: Settings, owner_token: str) -> Parts:
    """Build everything. Nothing is started, opened or read."""
    container = AgentHubContainer(
        settings=providers.Object(settings), owner_token=providers.Object(owner_token)
    )
    hub: Hub = container.services.hub()
    hub.instances.count_calls(container.services.gateway().in_flight)
    return Parts(
        client=container.outbound.mcp_client(),
        dashboard=container.faces.dashboard(),
        hub=hub,
        listeners=(
            hub.definitions,
            container.services.announcer(),
            container.services.instance_keeper(),
            container.services.health(),
            container.services.gateway(),
            hub.catalog,
        ),
        mcp=container.faces.mcp(),
        residents=tuple(container.residents()),
        rest=container.faces.rest(),
        uow=container.outbound.uow(),
    )
