"""Endpoints and instances above fakes; what answers at an address is said by the test."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import EndpointState, HttpTransport
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, InstanceId
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.endpoints import EndpointDraft, EndpointService
from agenthub.domain.services.instances.keeper import InstanceKeeper
from agenthub.domain.services.instances.service import (
    InstanceDraft,
    InstanceReport,
    InstanceService,
)
from agenthub.domain.services.monitoring import UNWATCHED
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.mcp_client import FakeMcpClient
from tests.fakes.storage import FakeUnitOfWork

A, B, C = (f"http://{name}.example/mcp" for name in "abc")


def tools(**described: str) -> Catalog:
    """Make a catalogue: `tools(add="Adds two numbers.")`."""
    definitions: dict[str, dict[str, Any]] = {
        name: {"name": name, "description": text, "inputSchema": {"type": "object"}}
        for name, text in described.items()
    }
    items = tuple(Item(ItemKind.TOOLS, name, one) for name, one in definitions.items())
    return Catalog({ItemKind.TOOLS: items})


SAME = tools(add="Adds.", echo="Says it again.")


class PatientClient(FakeMcpClient):
    """Clear `settling` to keep those waiting who wait for a first connection."""

    def __init__(self) -> None:
        super().__init__()
        self.settling = asyncio.Event()
        self.settling.set()

    async def settled(self, endpoint_id: EndpointId, timeout_s: float) -> EndpointState:
        await self.settling.wait()
        return self.state(endpoint_id)


class House:
    """One server, `calc` at A; B and C offer the same."""

    def __init__(self, *, drain_timeout_s: float = 5, uow: FakeUnitOfWork | None = None) -> None:
        self.uow = uow or FakeUnitOfWork()
        self.client = PatientClient()
        self.client.offers_at = dict.fromkeys((A, B, C), SAME)
        self.directory = Directory()
        self.in_flight: Counter[str] = Counter()
        clock = FakeClock()
        self.announcer = Announcer(
            client=self.client, clock=clock, directory=self.directory, uow=self.uow
        )
        ids = FakeIdFactory()
        self.endpoints = EndpointService(
            client=self.client,
            clock=clock,
            directory=self.directory,
            health_of=lambda _: UNWATCHED,
            ids=ids,
            settle_timeout_s=5,
            uow=self.uow,
        )
        self.keeper = InstanceKeeper(
            announcer=self.announcer, client=self.client, clock=clock, directory=self.directory
        )
        self.service = InstanceService(
            client=self.client,
            clock=clock,
            directory=self.directory,
            drain_timeout_s=drain_timeout_s,
            endpoints=self.endpoints,
            ids=ids,
            keeper=self.keeper,
            settle_timeout_s=5,
            uow=self.uow,
        )
        self.service.count_calls(lambda instance_id: self.in_flight[instance_id])
        self.client.attach(self.announcer)
        self.client.attach(self.keeper)

    async def register(self, name: str = "calc", url: str = A) -> EndpointId:
        draft = EndpointDraft(name=name, transport=HttpTransport(url=url))
        return (await self.endpoints.register(OWNER, draft)).endpoint.id

    async def add(
        self, url: str = B, *, server: str = "calc", weight: int = 1, priority: int = 0
    ) -> InstanceReport:
        draft = InstanceDraft(transport=HttpTransport(url=url), weight=weight, priority=priority)
        return await self.service.add(OWNER, server, draft)

    def addresses(self, server: str = "calc") -> list[str]:
        reports = self.service.of(OWNER, server)
        return [r.transport.url for r in reports if isinstance(r.transport, HttpTransport)]

    def stored(self) -> list[InstanceId]:
        return sorted(self.uow.rows[DEFAULT_WORKSPACE].instances)

    def details(self) -> list[str]:
        """Give the details of what was told of the servers."""
        events = self.uow.rows[DEFAULT_WORKSPACE].events
        return [event.facts["detail"] for event in events if event.facts.get("detail")]


@asynccontextmanager
async def living(house: House) -> AsyncGenerator[House]:
    async with house.announcer, house.keeper:
        yield house
