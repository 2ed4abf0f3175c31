"""The outbound floor: one provider per port."""

from pathlib import Path

from dependency_injector import containers, providers

from agenthub.adapters.outbound.clock.system import SystemChance, SystemClock, UlidFactory
from agenthub.adapters.outbound.event_bus.memory import MemoryEventBus
from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.http.host_guard import HostGuard
from agenthub.adapters.outbound.journal.file import FileJournal
from agenthub.adapters.outbound.llm.litellm import LiteLlm
from agenthub.adapters.outbound.llm.prices import LiteLlmPriceList
from agenthub.adapters.outbound.mcp_client.client import PooledMcpClient
from agenthub.adapters.outbound.notifier.apprise import AppriseNotifier
from agenthub.adapters.outbound.notifier.webhook import WebhookNotifier
from agenthub.adapters.outbound.secrets.envelope import EnvelopeSecretBox
from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.key_lookup import SqlKeyLookup
from agenthub.adapters.outbound.storage.unit_of_work import SqlUnitOfWork
from agenthub.adapters.outbound.telemetry.chosen import ChosenTelemetry
from agenthub.config.settings import Settings
from agenthub.domain.entities.catalog.listing import CatalogBounds

SECRET_KEY_FILE = "secret.key"  # noqa: S105  a file's name


def secret_key_path(settings: Settings) -> Path:
    return settings.data_dir / SECRET_KEY_FILE


class OutboundContainer(containers.DeclarativeContainer):
    """Whom the hub drives. Nothing here does anything before it is entered."""

    settings = providers.Dependency(instance_of=Settings)

    chance = providers.Singleton(SystemChance)
    clock = providers.Singleton(SystemClock)
    ids = providers.Singleton(UlidFactory, clock=clock)
    event_bus = providers.Singleton(MemoryEventBus)
    secrets = providers.Singleton(
        EnvelopeSecretBox,
        key=settings.provided.secret_key,
        key_path=providers.Callable(secret_key_path, settings=settings),
    )
    database = providers.Singleton(Database, url=settings.provided.effective_database_url)
    key_lookup = providers.Singleton(SqlKeyLookup, database=database)
    uow = providers.Singleton(
        SqlUnitOfWork, bus=event_bus, clock=clock, database=database, secrets=secrets
    )
    http = providers.Singleton(
        AiohttpClient,
        allow_private=settings.provided.egress_allow_private,
        max_body_bytes=settings.provided.egress.max_body_bytes,
    )
    egress_guard = providers.Singleton(
        HostGuard, allow_private=settings.provided.egress_allow_private
    )
    notifiers = providers.List(
        providers.Singleton(WebhookNotifier, clock=clock, guard=egress_guard, http=http),
        providers.Singleton(AppriseNotifier, guard=egress_guard),
    )
    mcp_client = providers.Singleton(
        PooledMcpClient,
        bounds=providers.Singleton(CatalogBounds),
        chance=chance,
        clock=clock,
        data_dir=settings.provided.data_dir,
        http=http,
    )
    llm = providers.Singleton(
        LiteLlm,
        api_base=settings.provided.llm.api_base,
        api_key=settings.provided.llm.api_key,
        http=http,
        model=settings.provided.llm.model,
    )
    prices = providers.Singleton(
        LiteLlmPriceList,
        clock=clock,
        data_dir=settings.provided.data_dir,
        own_file=settings.provided.llm.prices_file,
    )
    journal = providers.Singleton(
        FileJournal,
        folder=settings.provided.data_dir,
        sync=settings.provided.usage.journal_sync,
    )
    telemetry = providers.Singleton(
        ChosenTelemetry,
        endpoint=settings.provided.telemetry.otlp_endpoint,
        headers=settings.provided.telemetry.headers,
        http=http,
        sample_share=settings.provided.telemetry.sample_share,
    )
