"""The services' floor: lower ones first, as they stand on each other."""

from datetime import timedelta

from dependency_injector import containers, providers

from agenthub.adapters.inbound.hub import Hub
from agenthub.config.settings import Settings
from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory
from agenthub.domain.ports.outbound.event_bus import EventBus
from agenthub.domain.ports.outbound.journal import Journal
from agenthub.domain.ports.outbound.llm import Llm, PriceList
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.ports.outbound.notifier import Notifier
from agenthub.domain.ports.outbound.storage.identity import KeyLookup
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.ports.outbound.telemetry import Telemetry
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.calls import CallService
from agenthub.domain.services.catalog.definitions import DefinitionService
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.cost.budget_book import BudgetBook
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.ledger import LedgerService
from agenthub.domain.services.cost.prices import PriceBook
from agenthub.domain.services.cost.reports import CostService
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.endpoints import EndpointService
from agenthub.domain.services.events import EventService
from agenthub.domain.services.groups import GroupService
from agenthub.domain.services.held import HeldCalls
from agenthub.domain.services.hitl.approvals import ApprovalDesk
from agenthub.domain.services.hitl.clearing import Clearing
from agenthub.domain.services.hitl.elicitation import ElicitationDesk
from agenthub.domain.services.hitl.people import People
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.sampling import SamplingDesk
from agenthub.domain.services.identity import IdentityService
from agenthub.domain.services.instances.keeper import InstanceKeeper
from agenthub.domain.services.instances.service import InstanceService
from agenthub.domain.services.models import ModelService
from agenthub.domain.services.monitoring import HealthService
from agenthub.domain.services.notices.desk import NoticeService
from agenthub.domain.services.policies import PolicyService
from agenthub.domain.services.resilience.accounts import CallAccounts
from agenthub.domain.services.resilience.desk import GatewayDesk
from agenthub.domain.services.resilience.gateway import Gateway
from agenthub.domain.services.resilience.stats import CallStats
from agenthub.domain.services.resilience.tracing import CallTracing
from agenthub.domain.services.resilience.watching import ServiceWatch

SHARED_RECOVER_AFTER = timedelta(minutes=15)
"""Minutes longer than any model call may take (`LONGEST_CALL_S`)."""


def recover_after(settings: Settings) -> timedelta:
    """Say how old a reservation is before it counts as one of a hub that died.

    A database on this machine has no other hub; beside others a call may still be under way there.
    """
    return SHARED_RECOVER_AFTER if is_shared(settings) else timedelta(0)


def is_shared(settings: Settings) -> bool:
    """Say whether other hubs may use the database as well."""
    return not settings.effective_database_url.startswith("sqlite")


class ServicesContainer(containers.DeclarativeContainer):
    """The use cases. Their ports come from the outbound floor."""

    settings = providers.Dependency(instance_of=Settings)
    owner_token = providers.Dependency(instance_of=str)
    chance = providers.Dependency(instance_of=Chance)
    clock = providers.Dependency(instance_of=Clock)
    event_bus = providers.Dependency(instance_of=EventBus)
    ids = providers.Dependency(instance_of=IdFactory)
    key_lookup = providers.Dependency(instance_of=KeyLookup)
    llm = providers.Dependency(instance_of=Llm)
    mcp_client = providers.Dependency(instance_of=McpClient)
    notifiers: providers.Dependency[list[Notifier]] = providers.Dependency(instance_of=list)
    journal = providers.Dependency(instance_of=Journal)
    prices = providers.Dependency(instance_of=PriceList)
    telemetry = providers.Dependency(instance_of=Telemetry)
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
    policies = providers.Singleton(
        PolicyService,
        client=mcp_client,
        clock=clock,
        directory=directory,
        file=settings.provided.policies,
        uow=uow,
    )
    ledger = providers.Singleton(
        LedgerService,
        clock=clock,
        ids=ids,
        journal=journal,
        keep_days=settings.provided.usage.keep_days,
        uow=uow,
    )
    budgets = providers.Singleton(
        BudgetService,
        clock=clock,
        ids=ids,
        monthly_nano_usd=settings.provided.budget.monthly_nano_usd,
        recover_after=providers.Callable(recover_after, settings=settings),
        uow=uow,
    )
    budget_book = providers.Singleton(
        BudgetBook, clock=clock, directory=directory, ids=ids, uow=uow
    )
    costs = providers.Singleton(CostService, uow=uow)
    notices = providers.Singleton(
        NoticeService,
        chance=chance,
        clock=clock,
        events=events,
        ids=ids,
        notifiers=notifiers,
        uow=uow,
    )
    health = providers.Singleton(
        HealthService,
        announcer=announcer,
        chance=chance,
        client=mcp_client,
        clock=clock,
        directory=directory,
        listen_to_policies=policies.provided.listen,
        policy_of=policies.provided.of,
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
    instance_keeper = providers.Singleton(
        InstanceKeeper, announcer=announcer, client=mcp_client, clock=clock, directory=directory
    )
    instances = providers.Singleton(
        InstanceService,
        client=mcp_client,
        clock=clock,
        directory=directory,
        drain_timeout_s=settings.provided.upstream.drain_timeout_s,
        endpoints=endpoints,
        ids=ids,
        keeper=instance_keeper,
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
        listen_to_policies=policies.provided.listen,
        policy_of=policies.provided.of,
        uow=uow,
    )
    catalog = providers.Singleton(
        CatalogService, client=mcp_client, definitions=definitions, directory=directory
    )
    call_stats = providers.Singleton(CallStats)
    accounts = providers.Singleton(
        CallAccounts, budgets=budgets, clock=clock, ids=ids, ledger=ledger, stats=call_stats
    )
    tracing = providers.Singleton(CallTracing, telemetry=telemetry)
    watch = providers.Singleton(ServiceWatch, health=health, keeper=instance_keeper)
    gateway = providers.Singleton(
        Gateway,
        announcer=announcer,
        chance=chance,
        client=mcp_client,
        clock=clock,
        directory=directory,
        ledger=ledger,
        policies=policies,
        stats=call_stats,
        tracing=tracing,
        watch=watch,
    )
    gateway_desk = providers.Singleton(
        GatewayDesk,
        clock=clock,
        directory=directory,
        endpoints=endpoints,
        gateway=gateway,
        policies=policies,
        stats=call_stats,
    )
    requests = providers.Singleton(
        HitlQueue,
        bus=event_bus,
        clock=clock,
        ids=ids,
        keep_days=settings.provided.hitl.keep_days,
        shared=providers.Callable(is_shared, settings=settings),
        ttl_s=settings.provided.hitl.ttl_s,
        uow=uow,
    )
    approvals = providers.Singleton(ApprovalDesk, clock=clock, ids=ids, queue=requests, uow=uow)
    clearing = providers.Singleton(Clearing, approvals=approvals, catalog=catalog)
    calls = providers.Singleton(
        CallService,
        accounts=accounts,
        catalog=catalog,
        clearing=clearing,
        clock=clock,
        gateway=gateway,
        policies=policies,
        tracing=tracing,
    )
    price_book = providers.Singleton(PriceBook, prices=prices, uow=uow)
    models = providers.Singleton(
        ModelService,
        book=price_book,
        budgets=budgets,
        clock=clock,
        ids=ids,
        llm=llm,
        max_tokens=settings.provided.llm.max_tokens,
        model=settings.provided.llm.model,
        prices=prices,
    )
    elicitation = providers.Singleton(ElicitationDesk, queue=requests)
    sampling = providers.Singleton(
        SamplingDesk, clock=clock, ids=ids, models=models, queue=requests, uow=uow
    )
    people = providers.Singleton(
        People,
        approvals=approvals,
        clock=clock,
        elicitation=elicitation,
        enabled=settings.provided.hitl.enabled,
        ids=ids,
        policies=policies,
        queue=requests,
        sampling=sampling,
    )
    held = providers.Singleton(
        HeldCalls,
        calls=calls,
        catalog=catalog,
        clock=clock,
        hold_s=settings.provided.hitl.hold_s,
        identity=identity,
        people=people,
        queue=requests,
    )
    hub = providers.Singleton(
        Hub,
        approvals=approvals,
        budgets=budget_book,
        calls=calls,
        catalog=catalog,
        costs=costs,
        definitions=definitions,
        elicitation=elicitation,
        endpoints=endpoints,
        events=events,
        gateway=gateway_desk,
        groups=groups,
        held=held,
        identity=identity,
        instances=instances,
        models=models,
        notices=notices,
        policies=policies,
        requests=requests,
        sampling=sampling,
    )
