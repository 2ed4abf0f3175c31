"""A gateway with real guards over fake servers, and agents that call through it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.cost import Entry
from agenthub.domain.entities.endpoints import Endpoint, Era
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.entities.instances import Instance
from agenthub.domain.entities.resilience.filed import file_layers_of
from agenthub.domain.event import StoredEvent
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.mcp_client import Caller, Question, RawObject
from agenthub.domain.ports.outbound.storage.cost import EntryFilter
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.calls import CallService, Deed, Errand, Outcome
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.ledger import LedgerService
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.policies import PolicyService
from agenthub.domain.services.resilience.accounts import CallAccounts
from agenthub.domain.services.resilience.attempts import InstanceWatch
from agenthub.domain.services.resilience.gateway import Gateway
from agenthub.domain.services.resilience.stats import CallStats
from agenthub.domain.services.resilience.tracing import CallTracing
from tests.fakes.clock import FakeChance, FakeClock, FakeIdFactory
from tests.fakes.journal import FakeJournal
from tests.fakes.mcp_client import FakeMcpClient
from tests.fakes.storage import FakeUnitOfWork
from tests.fakes.telemetry import FakeTelemetry
from tests.support.calling import clearing_over
from tests.unit.domain.services.samples import AT, endpoint, own

SERVER = "calc"
OTHER = "spare"


class Agent(Caller):
    """Answers questions by `answer`, if it has one."""

    def __init__(
        self,
        era: Era = Era.MODERN,
        answer: Callable[[Question], Awaitable[bytes]] | None = None,
        client: str = "agent",
    ) -> None:
        self.era = era
        self.capabilities: Mapping[str, Any] = {}
        self.client = client
        self.wants_progress = False
        self.log_level = None
        self._answer = answer

    async def progress(self, params: RawObject) -> None:
        raise AssertionError("no progress is expected")

    async def log(self, params: RawObject) -> None:
        raise AssertionError("no log is expected")

    async def ask(self, question: Question) -> bytes:
        assert self._answer is not None, "no question is expected"
        return await self._answer(question)


class FakeWatch(InstanceWatch):
    def __init__(self) -> None:
        self.ill: set[InstanceId] = set()
        self.odd: set[InstanceId] = set()
        self.answered: list[InstanceId] = []

    def is_equal(self, instance_id: InstanceId) -> bool:
        return instance_id not in self.odd

    def is_usable(self, instance_id: InstanceId) -> bool:
        return instance_id not in self.ill

    def note_success(self, instance_id: InstanceId) -> None:
        self.answered.append(instance_id)


def tool(name: str, **annotations: bool) -> Item:
    return Item(ItemKind.TOOLS, name, {"name": name, "annotations": annotations})


TOOLS = Catalog({ItemKind.TOOLS: (tool("add"), tool("look", readOnlyHint=True))})


class World:
    """`policy` is what `agenthub.toml` says below `[gateway]`."""

    def __init__(self, policy: Mapping[str, Any]) -> None:
        self.clock = FakeClock()
        self.client = FakeMcpClient()
        self.directory = Directory()
        self.uow = FakeUnitOfWork(clock=self.clock)
        self.watch = FakeWatch()
        self.telemetry = FakeTelemetry()
        self.pauses: list[float] = []
        self.tasks = asyncio.TaskGroup()
        ids = FakeIdFactory()
        self.announcer = Announcer(
            client=self.client, clock=self.clock, directory=self.directory, uow=self.uow
        )
        self.policies = PolicyService(
            client=self.client,
            clock=self.clock,
            directory=self.directory,
            file=file_layers_of(policy),
            uow=self.uow,
        )
        self.journal = FakeJournal()
        self.ledger = LedgerService(
            clock=self.clock, ids=ids, journal=self.journal, keep_days=90, uow=self.uow
        )
        self.budgets = BudgetService(
            clock=self.clock, ids=ids, monthly_nano_usd=0, recover_after=timedelta(0), uow=self.uow
        )
        tracing = CallTracing(telemetry=self.telemetry)
        self.stats = CallStats()
        self.accounts = CallAccounts(
            budgets=self.budgets,
            clock=self.clock,
            ids=ids,
            ledger=self.ledger,
            stats=self.stats,
        )
        self.gateway = Gateway(
            announcer=self.announcer,
            chance=FakeChance(),
            client=self.client,
            clock=self.clock,
            directory=self.directory,
            ledger=self.ledger,
            policies=self.policies,
            stats=self.stats,
            tracing=tracing,
            watch=self.watch,
            pause=self._pause,
        )
        self.catalog = CatalogService(client=self.client, directory=self.directory)
        self.calls = CallService(
            accounts=self.accounts,
            catalog=self.catalog,
            clearing=clearing_over(self.clock, self.catalog, self.uow),
            clock=self.clock,
            gateway=self.gateway,
            policies=self.policies,
            tracing=tracing,
        )
        self.client.attach(self.catalog)
        self.client.attach(self.gateway)

    async def add(self, name: str, catalog: Catalog = TOOLS) -> Endpoint:
        made = endpoint(name)
        self.directory.put_endpoint(made)
        await self.uow_add(made)
        await self.client.connect(made)
        self.client.offer(made.id, catalog)
        return made

    async def uow_add(self, made: Endpoint) -> None:
        async with self.uow.begin(OWNER) as tx:
            await tx.endpoints.add(made)
            await tx.commit()

    async def add_instance(self, of: Endpoint, name: str, **more: Any) -> InstanceId:
        """Give a server one more instance."""
        made = Instance(
            id=InstanceId(EndpointId(name)),
            workspace=of.workspace,
            endpoint_id=of.id,
            created_at=AT,
            **more,
        )
        further = [i for i in self.directory.instances(of.id) if not i.is_own]
        self.directory.put_instances(of.id, (own(of), *further, made))
        await self.client.connect(endpoint(of.name, id=name))
        self.client.offer(EndpointId(name), TOOLS)
        return made.id

    async def call(
        self,
        key: str = f"{SERVER}__add",
        caller: Caller | None = None,
        principal: Principal = OWNER,
        **arguments: bytes,
    ) -> Outcome:
        errand = Errand(Deed.CALL_TOOL, key, {"name": b'"x"', **arguments})
        view = self.catalog.view_all(principal)
        return await self.calls.carry(view, errand, caller or Agent())

    def start(self, call: Coroutine[Any, Any, Outcome]) -> asyncio.Task[Outcome | Exception]:
        """Run a call beside the test; its task gives the error that it ends with."""

        async def caught() -> Outcome | Exception:
            try:
                return await call
            except Exception as error:  # noqa: BLE001  the test looks at it
                return error

        return self.tasks.create_task(caught())

    async def entries(self) -> list[Entry]:
        """List the ledger, oldest first."""
        await self.ledger.flush()
        async with self.uow.read(OWNER) as stored:
            found = await stored.ledger.page(EntryFilter(), limit=200, before=None)
        return found[::-1]

    def events(self, name: str) -> list[StoredEvent]:
        return [e for e in self.uow.rows[OWNER.workspace].events if e.name == name]

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)


@asynccontextmanager
async def world(policy: Mapping[str, Any] | None = None) -> AsyncGenerator[World]:
    made = World(policy or {})
    async with AsyncExitStack() as stack:
        for resident in (made.announcer, made.journal, made.ledger, made.budgets, made.tasks):
            await stack.enter_async_context(resident)
        await made.add(SERVER)
        yield made
