"""Queues of questions on one store in memory, and what people do with them."""

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.event import StoredEvent
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ports.outbound.storage.unit_of_work import Reading, Transaction
from agenthub.domain.services.hitl.queue import HitlQueue
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.storage import FakeUnitOfWork
from tests.unit.domain.services.hitl.asked import PERSON, TTL, held_call, question

LONG_S = 1_000.0


class CountingUnitOfWork(FakeUnitOfWork):
    """Counts looks at the store, and attempts to write; while `is_down` none succeeds."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.reads = 0
        self.writes = 0
        self.is_down = False

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Transaction]:
        self.writes += 1
        if self.is_down:
            raise UnavailableError("down", code="storage_unavailable")
        async with super().begin(principal) as tx:
            yield tx

    @asynccontextmanager
    async def read(self, principal: Principal) -> AsyncGenerator[Reading]:
        self.reads += 1
        if self.is_down:
            raise UnavailableError("down", code="storage_unavailable")
        async with super().read(principal) as stored:
            yield stored


class World:
    """A store, and as many hubs on it as a test makes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ids = FakeIdFactory()
        self.uow = CountingUnitOfWork(clock=self.clock)

    def queue(self, **changes: Any) -> HitlQueue:
        facts: dict[str, Any] = {
            "bus": self.uow.bus,
            "clock": self.clock,
            "ids": self.ids,
            "keep_days": 90,
            "shared": False,
            "ttl_s": TTL.total_seconds(),
            "uow": self.uow,
            "poll_s": LONG_S,
        }
        return HitlQueue(**{**facts, **changes})

    def told(self) -> list[StoredEvent]:
        return self.uow.rows[OWNER.workspace].events


def accept(request: ElicitationRequest, now: datetime) -> ElicitationRequest:
    return request.answered("anna", Action.ACCEPT, {"ok": True}, now)


def let_pass(request: ToolApproval, now: datetime) -> ToolApproval:
    return request.approved("anna", {}, now)


async def answer(queue: HitlQueue, name: str = "R1") -> ElicitationRequest:
    return await queue.decide(PERSON, ElicitationRequest, name, accept)


async def ask(queue: HitlQueue, names: Collection[str] = ("R1",)) -> None:
    await queue.ask(held_call("H1", *names), [question(name) for name in names], None)


async def status(queue: HitlQueue, name: str = "R1") -> RequestStatus:
    return (await queue.get(OWNER, ElicitationRequest, name)).status
