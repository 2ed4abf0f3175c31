# pyright: reportUnknownMemberType=false
"""The composition root: the floors, joined. Used in `main` and in tests only."""

from dependency_injector import containers, providers

from agenthub.config.faces import FacesContainer
from agenthub.config.outbound import OutboundContainer
from agenthub.config.reloading import ConfigWatch
from agenthub.config.services import ServicesContainer
from agenthub.config.settings import Settings


class AgentHubContainer(containers.DeclarativeContainer):
    """Give `settings` and `owner_token`; take `residents`, `hub` and the faces."""

    settings = providers.Dependency(instance_of=Settings)
    owner_token = providers.Dependency(instance_of=str)

    outbound = providers.Container(OutboundContainer, settings=settings)
    services = providers.Container(
        ServicesContainer,
        chance=outbound.chance,
        clock=outbound.clock,
        event_bus=outbound.event_bus,
        ids=outbound.ids,
        journal=outbound.journal,
        key_lookup=outbound.key_lookup,
        llm=outbound.llm,
        mcp_client=outbound.mcp_client,
        notifiers=outbound.notifiers,
        owner_token=owner_token,
        prices=outbound.prices,
        settings=settings,
        telemetry=outbound.telemetry,
        uow=outbound.uow,
    )
    faces = providers.Container(
        FacesContainer,
        chance=outbound.chance,
        clock=outbound.clock,
        hub=services.hub,
        ids=outbound.ids,
        ping=outbound.database.provided.ping,
        secrets=outbound.secrets,
        settings=settings,
    )
    config_watch = providers.Singleton(ConfigWatch, policies=services.policies, settings=settings)
    residents = providers.List(
        outbound.database,
        outbound.http,
        outbound.telemetry,
        outbound.journal,
        outbound.prices,
        outbound.llm,
        services.ledger,
        services.budgets,
        services.models,
        services.events,
        services.requests,
        services.announcer,
        services.definitions,
        outbound.mcp_client,
        services.instance_keeper,
        services.health,
        services.sampling,
        services.held,
        services.notices,
        config_watch,
        faces.mcp,
    )
    """In the order of starting; they end backwards."""
