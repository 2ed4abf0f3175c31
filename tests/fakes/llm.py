"""A model that says what a test tells it to, and prices that are easy to reckon with."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from agenthub.domain.entities.cost import PriceSnapshot, Tokens
from agenthub.domain.ports.outbound.llm import Llm, ModelChunk, ModelRequest, PriceList
from tests.fakes.clock import NEW_YEAR
from tests.fakes.storage import refuse_inside_transaction

INPUT_NANO, CACHED_NANO, OUTPUT_NANO = 1_000, 100, 5_000


@dataclass
class FakeLlm(Llm):
    """Counts words as tokens. After `chunks` it raises `error`, if there is one.

    `gate`, once cleared, holds the answer back behind its first `held` chunks.
    """

    chunks: list[ModelChunk] = field(default_factory=list[ModelChunk])
    error: Exception | None = None
    held: int = 0
    requests: list[ModelRequest] = field(default_factory=list[ModelRequest])
    closed: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def complete(self, request: ModelRequest) -> AsyncGenerator[ModelChunk]:
        refuse_inside_transaction()
        self.requests.append(request)
        try:
            for number, chunk in enumerate(self.chunks):
                if number == self.held:
                    await self.gate.wait()
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.closed += 1

    async def count(self, request: ModelRequest) -> int:
        return sum(len(str(one.get("content", "")).split()) for one in request.messages)

    async def count_text(self, model: str, text: str) -> int:
        return len(text.split())


class FakePriceList(PriceList):
    """Knows the models it is given."""

    def __init__(self, *models: str) -> None:
        self._models = list(models)

    async def load(self) -> None:
        await asyncio.sleep(0)

    def price(self, model: str) -> PriceSnapshot | None:
        if model not in self._models:
            return None
        return PriceSnapshot(id=f"price-{model}", body={}, source="fake", at=NEW_YEAR)

    def models(self) -> list[str]:
        return self._models

    def per_million_nano_usd(self, price: PriceSnapshot) -> tuple[int, int]:
        return 1_000_000 * INPUT_NANO, 1_000_000 * OUTPUT_NANO

    def cost_nano_usd(self, price: PriceSnapshot, tokens: Tokens) -> int:
        fresh = tokens.prompt - tokens.cached_read
        cost = fresh * INPUT_NANO + tokens.cached_read * CACHED_NANO
        return cost + tokens.completion * OUTPUT_NANO
