"""The services' floor: lower ones first, as they stand on each other."""

from dependency_injector import containers, providers

from agenthub.adapters.inbound.hub import Hub
from agenthub.config.settings import Settings
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory
from agenthub.domain.ports.outbound.event_bus import EventBus
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.ports.outbound.storage.identity import KeyLookup
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.calls import CallService
from agenthub.domain.services.catalog.definitions import DefinitionService
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.endpoints import EndpointService
from agenthub.domain.services.events import EventService
from agenthub.domain.services.groups import GroupService
from agenthub.domain.services.identity import IdentityService
from agenthub.domain.services.monitoring import HealthService


def default_policy(endpoint_id: EndpointId, tool: str | None = None) -> GatewayPolicy:
    """Give every server what holds unless somebody says otherwise."""
    return GatewayPolicy()


class ServicesContainer(containers.DeclarativeContainer):
    """The use cases. Their ports come from the outbound floor."""

    settings = providers.Dependency(instance_of=Settings)
    owner_token = providers.Dependency(instance_of=str)
    chance = providers.Dependency(instance_of=Chance)
    clock = providers.Dependency(instance_of=Clock)
    event_bus = providers.Dependency(instance_of=EventBus)
    ids = providers.Dependency(instance_of=IdFactory)
    key_lookup = providers.Dependency(instance_of=KeyLookup)
    mcp_client = providers.Dependency(instance_of=McpClient)
    uow = providers.Dependency(instance_of=UnitOfWork)

    directory = providers.Singleton(Directory)
    announcer = providers.Singleton(
        Announcer, client=mcp_client, clock=clock, directory=directory, uow=uow
    )
    events = providers.Singleton(
        EventService,
        bus=event_bus,
        directory=directory,
        keep=settings.provided.events.keep,
        uow=uow,
    )
    identity = providers.Singleton(
        IdentityService,
        chance=chance,
        clock=clock,
        directory=directory,
        ids=ids,
        lookup=key_lookup,
        owner_token=owner_token,
        uow=uow,
    )
    health = providers.Singleton(
        HealthService,
        announcer=announcer,
        chance=chance,
        client=mcp_client,
        clock=clock,
        directory=directory,
        policy_of=providers.Object(default_policy),
    )
    endpoints = providers.Singleton(
        EndpointService,
        client=mcp_client,
        clock=clock,
        directory=directory,
        health_of=health.provided.health,
        ids=ids,
        settle_timeout_s=settings.provided.upstream.settle_timeout_s,
        uow=uow,
    )
    groups = providers.Singleton(
        GroupService, clock=clock, directory=directory, identity=identity, ids=ids, uow=uow
    )
    definitions = providers.Singleton(
        DefinitionService,
        client=mcp_client,
        clock=clock,
        directory=directory,
        policy_of=providers.Object(default_policy),
        uow=uow,
    )
    catalog = providers.Singleton(
        CatalogService, client=mcp_client, definitions=definitions, directory=directory
    )
    calls = providers.Singleton(
        CallService,
        call_timeout_s=settings.provided.upstream.call_timeout_s,
        catalog=catalog,
        client=mcp_client,
    )
    hub = providers.Singleton(
        Hub,
        calls=calls,
        catalog=catalog,
        definitions=definitions,
        endpoints=endpoints,
        events=events,
        groups=groups,
        identity=identity,
    )
