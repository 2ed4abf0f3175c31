"""The main street over fake servers: places for every call, and nothing to enter."""

from datetime import timedelta
from typing import Any

from agenthub.domain.entities.resilience.filed import FileLayers
from agenthub.domain.ids import InstanceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.calls import CallService
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.ledger import LedgerService
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.hitl.approvals import ApprovalDesk
from agenthub.domain.services.hitl.clearing import Clearing
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.policies import PolicyService
from agenthub.domain.services.resilience.accounts import CallAccounts
from agenthub.domain.services.resilience.attempts import InstanceWatch
from agenthub.domain.services.resilience.gateway import Gateway
from agenthub.domain.services.resilience.stats import CallStats
from agenthub.domain.services.resilience.tracing import CallTracing
from tests.fakes.clock import FakeChance, FakeClock, FakeIdFactory
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.journal import FakeJournal
from tests.fakes.storage import FakeUnitOfWork
from tests.fakes.telemetry import FakeTelemetry


class AllWell(InstanceWatch):
    def is_equal(self, instance_id: InstanceId) -> bool:
        return True

    def is_usable(self, instance_id: InstanceId) -> bool:
        return True

    def note_success(self, instance_id: InstanceId) -> None:
        """Nobody asks."""


def policies_over(
    client: McpClient,
    directory: Directory,
    clock: Clock,
    uow: UnitOfWork,
    *,
    timeout_s: float,
    tools: dict[tuple[str, str], dict[str, Any]] | None = None,
    **more: Any,
) -> PolicyService:
    """Make the policies of a hub: `more` are its own, `tools` those of (server, tool)."""
    hub = {"timeout_s": timeout_s, "bulkhead": {"max_concurrent": 1_000}, **more}
    file = FileLayers(hub=hub, tools=tools or {})
    return PolicyService(client=client, clock=clock, directory=directory, file=file, uow=uow)


def clearing_over(clock: Clock, catalog: CatalogService, uow: UnitOfWork) -> Clearing:
    """Make what stands before the gateway, with the policies of the store: none, until loaded."""
    ids = FakeIdFactory()
    queue = HitlQueue(
        bus=FakeEventBus(), clock=clock, ids=ids, keep_days=90, shared=False, ttl_s=600, uow=uow
    )
    approvals = ApprovalDesk(clock=clock, ids=ids, queue=queue, uow=uow)
    return Clearing(approvals=approvals, catalog=catalog)


def calls_over(
    client: McpClient,
    directory: Directory,
    catalog: CatalogService,
    *,
    timeout_s: float,
    budgets: BudgetService | None = None,
    clearing: Clearing | None = None,
    clock: Clock | None = None,
    policies: PolicyService | None = None,
    uow: FakeUnitOfWork | None = None,
) -> CallService:
    clock = clock or FakeClock()
    ids = FakeIdFactory()
    uow = uow or FakeUnitOfWork(clock=clock)
    policies = policies or policies_over(client, directory, clock, uow, timeout_s=timeout_s)
    journal = FakeJournal()
    journal.rotate()
    ledger = LedgerService(clock=clock, ids=ids, journal=journal, keep_days=90, uow=uow)
    budgets = budgets or BudgetService(
        clock=clock, ids=ids, monthly_nano_usd=0, recover_after=timedelta(0), uow=uow
    )
    tracing = CallTracing(telemetry=FakeTelemetry())
    stats = CallStats()
    accounts = CallAccounts(budgets=budgets, clock=clock, ids=ids, ledger=ledger, stats=stats)
    gateway = Gateway(
        announcer=Announcer(client=client, clock=clock, directory=directory, uow=uow),
        chance=FakeChance(),
        client=client,
        clock=clock,
        directory=directory,
        ledger=ledger,
        policies=policies,
        stats=stats,
        tracing=tracing,
        watch=AllWell(),
    )
    return CallService(
        accounts=accounts,
        catalog=catalog,
        clearing=clearing or clearing_over(clock, catalog, uow),
        clock=clock,
        gateway=gateway,
        policies=policies,
        tracing=tracing,
    )
