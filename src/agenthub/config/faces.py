"""The faces' floor: who drives the hub."""

from dependency_injector import containers, providers

from agenthub.adapters.inbound.http.app import RestFace
from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.face import McpFace
from agenthub.adapters.inbound.mcp.sealing import Sealer
from agenthub.adapters.inbound.mcp.wire import Limits
from agenthub.adapters.inbound.web.static import Dashboard
from agenthub.config.settings import Settings
from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory
from agenthub.domain.ports.outbound.secrets import SecretBox


class FacesContainer(containers.DeclarativeContainer):
    """Faces see the hub through one facade."""

    settings = providers.Dependency(instance_of=Settings)
    chance = providers.Dependency(instance_of=Chance)
    clock = providers.Dependency(instance_of=Clock)
    hub = providers.Dependency(instance_of=Hub)
    ids = providers.Dependency(instance_of=IdFactory)
    ping = providers.Dependency()
    secrets = providers.Dependency(instance_of=SecretBox)

    dashboard = providers.Singleton(Dashboard)
    mcp_limits = providers.Singleton(
        Limits,
        max_body_bytes=settings.provided.mcp.max_request_bytes,
        max_sessions=settings.provided.mcp.max_sessions,
        park_ttl_s=settings.provided.hitl.ttl_s,
        session_idle_s=settings.provided.mcp.session_idle_s,
    )
    sealer = providers.Singleton(
        Sealer, box=secrets, clock=clock, ttl_s=settings.provided.hitl.ttl_s
    )
    mcp = providers.Singleton(
        McpFace, chance=chance, clock=clock, hub=hub, limits=mcp_limits, sealer=sealer
    )
    rest = providers.Singleton(RestFace, clock=clock, hub=hub, ids=ids, ping=ping)
