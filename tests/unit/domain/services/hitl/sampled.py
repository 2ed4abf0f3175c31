"""A desk for sampling on a fake model, fake storage, and the real queue and ledger."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agenthub.domain.entities.cost import Budget, Entry, Tokens
from agenthub.domain.entities.hitl.request import HitlRequest, RequestStatus
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ids import DEFAULT_WORKSPACE, HeldCallId, RequestId
from agenthub.domain.ports.outbound.llm import ModelChunk
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.prices import PriceBook
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.sampling import SamplingDesk
from agenthub.domain.services.models import ModelService
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.llm import INPUT_NANO, OUTPUT_NANO, FakeLlm, FakePriceList
from tests.fakes.storage import FakeUnitOfWork
from tests.support.waiting import eventually
from tests.unit.domain.services.hitl.asked import held_call, origin

PARAMS: dict[str, Any] = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "one two three four"}}],
    "maxTokens": 50,
}
USED = Tokens(prompt=4, completion=2)
COST = 4 * INPUT_NANO + 2 * OUTPUT_NANO
END = ModelChunk(finish_reason="stop", model="served", tokens=USED)
RESULT = {
    "role": "assistant",
    "content": {"type": "text", "text": "five six"},
    "model": "served",
    "stopReason": "endTurn",
}


@dataclass
class House:
    """What outlives a process: the rows, and the model at its provider."""

    llm: FakeLlm = field(default_factory=lambda: FakeLlm([ModelChunk(text="five six"), END]))
    model: str | None = "priced"
    budgets: tuple[Budget, ...] = ()
    shared: bool = False
    refusals: int = 0
    """How often the database is too busy for the next moves of questions."""

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.ids = FakeIdFactory()
        self.bus = FakeEventBus()
        self.uow = FakeUnitOfWork(bus=self.bus, clock=self.clock)

    @asynccontextmanager
    async def living(self) -> AsyncGenerator[SamplingDesk]:
        """Run one process of the hub."""
        for one in self.budgets:
            self.uow.rows[DEFAULT_WORKSPACE].cost.budgets[one.id] = one
        prices = FakePriceList("priced", "dear", "priced-mini")
        budgets = BudgetService(
            clock=self.clock,
            ids=self.ids,
            monthly_nano_usd=0,
            recover_after=timedelta(0),
            uow=self.uow,
        )
        models = ModelService(
            book=PriceBook(prices=prices, uow=self.uow),
            budgets=budgets,
            clock=self.clock,
            ids=self.ids,
            llm=self.llm,
            max_tokens=100,
            model=self.model,
            prices=prices,
        )
        self.queue = _BusyQueue(
            house=self,
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
            keep_days=1,
            shared=self.shared,
            ttl_s=600,
            uow=self.uow,
        )
        desk = SamplingDesk(
            clock=self.clock, ids=self.ids, models=models, queue=self.queue, uow=self.uow
        )
        async with AsyncExitStack() as stack:
            for resident in (budgets, models, self.queue):
                await stack.enter_async_context(resident)
            yield await stack.enter_async_context(desk)

    async def asked(
        self, desk: SamplingDesk, name: str = "R1", origins: Any = None, **more: Any
    ) -> SamplingRequest:
        """Have a server ask, in a call of its own."""
        now = self.clock.now()
        request = desk.make(
            workspace=DEFAULT_WORKSPACE,
            origin=origin(**(origins or {})),
            held=HeldCallId(f"H-{name}"),
            key="q",
            question=question({**PARAMS, **more}),
            request_id=RequestId(name),
            now=now,
            expires_at=now + self.queue.ttl,
        )
        await self.queue.ask(held_call(f"H-{name}", name), [request], None)
        return request

    def row(self, name: str = "R1") -> SamplingRequest:
        found = self.uow.rows[DEFAULT_WORKSPACE].hitl.requests[RequestId(name)]
        assert isinstance(found, SamplingRequest)
        return found

    async def ended(self, name: str = "R1") -> SamplingRequest:
        """Wait until a request has its result, or has none for good."""

        def look() -> SamplingRequest | None:
            row = self.row(name)
            is_over = row.result is not None or row.status not in _UNDER_WAY
            return row if is_over else None

        found = await eventually(look)
        assert found is not None
        return found

    @property
    def entries(self) -> list[Entry]:
        return list(self.uow.rows[DEFAULT_WORKSPACE].cost.entries.values())

    @property
    def entry(self) -> Entry:
        (only,) = self.entries
        return only


class _BusyQueue(HitlQueue):
    def __init__(self, *, house: House, **parts: Any) -> None:
        super().__init__(**parts)
        self._house = house

    async def change(
        self, request_id: RequestId, move: Callable[[HitlRequest, datetime], HitlRequest]
    ) -> HitlRequest:
        if self._house.refusals:
            self._house.refusals -= 1
            raise UnavailableError("busy", code="storage_busy")
        return await super().change(request_id, move)


_UNDER_WAY = {RequestStatus.PENDING, RequestStatus.APPROVED}


def question(params: Any) -> Question:
    return Question("mail", "sampling/createMessage", json.dumps(params).encode())
