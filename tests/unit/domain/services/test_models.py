"""However a model call ends, the ledger has one entry of it, and the right amount."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from agenthub.config.services import SHARED_RECOVER_AFTER
from agenthub.domain.entities.cost import Budget, Entry, EntryKind, EntryStatus, Purpose, Tokens
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    HubError,
    InvalidError,
    NotConnectedError,
    QuotaError,
    TimedOutError,
    UpstreamError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId
from agenthub.domain.ports.outbound.llm import ModelChunk, ModelRequest
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.prices import PriceBook
from agenthub.domain.services.models import LONGEST_CALL_S, Estimate, ModelService
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.llm import CACHED_NANO, INPUT_NANO, OUTPUT_NANO, FakeLlm, FakePriceList
from tests.fakes.storage import FakeUnitOfWork
from tests.support.ledger_entries import budget
from tests.support.waiting import eventually, soon

ASKED = ModelRequest(messages=[{"role": "user", "content": "one two three four"}], max_tokens=50)
PROMPT = 4
SAID = [ModelChunk(text="five six "), ModelChunk(text="seven")]
HEARD = PROMPT * INPUT_NANO + 3 * OUTPUT_NANO
USED = Tokens(prompt=10, cached_read=4, completion=7)
COST = 6 * INPUT_NANO + 4 * CACHED_NANO + 7 * OUTPUT_NANO
END = ModelChunk(finish_reason="stop", model="served", tokens=USED)
FAULT = UpstreamError("broken", code="model_fault")


def refused(status: int) -> UpstreamError:
    error = UpstreamError("no", code="model_fault")
    error.http_status = status
    return error


@dataclass
class House:
    """The service on a fake model and fake storage."""

    llm: FakeLlm = field(default_factory=lambda: FakeLlm([*SAID, END]))
    model: str | None = "priced"
    budgets: tuple[Budget, ...] = ()
    longest_s: float = LONGEST_CALL_S
    models: tuple[str, ...] = ("priced", "other")

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.uow = FakeUnitOfWork(clock=self.clock)

    @asynccontextmanager
    async def living(self) -> AsyncGenerator[ModelService]:
        for one in self.budgets:
            self.uow.rows[DEFAULT_WORKSPACE].cost.budgets[one.id] = one
        prices = FakePriceList(*self.models)
        budgets = BudgetService(
            clock=self.clock,
            ids=FakeIdFactory(),
            monthly_nano_usd=0,
            recover_after=timedelta(0),
            uow=self.uow,
        )
        service = ModelService(
            book=PriceBook(prices=prices, uow=self.uow),
            budgets=budgets,
            clock=self.clock,
            ids=FakeIdFactory(),
            llm=self.llm,
            longest_s=self.longest_s,
            max_tokens=100,
            model=self.model,
            prices=prices,
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(budgets)
            yield await stack.enter_async_context(service)

    @property
    def entries(self) -> list[Entry]:
        return list(self.uow.rows[DEFAULT_WORKSPACE].cost.entries.values())

    @property
    def entry(self) -> Entry:
        (only,) = self.entries
        return only


async def ask(
    service: ModelService, request: ModelRequest = ASKED, principal: Principal = OWNER
) -> list[ModelChunk]:
    async with aclosing(service.complete(principal, request, Purpose.CHAT)) as chunks:
        return [chunk async for chunk in chunks]


async def test_a_whole_answer_costs_what_its_usage_costs() -> None:
    house = House()
    async with house.living() as service:
        *parts, last = await ask(service)
    entry = house.entry
    assert parts == SAID
    assert last == replace(END, cost_nano_usd=COST, entry_id=entry.id)
    assert (entry.kind, entry.purpose, entry.status) == (
        EntryKind.MODEL,
        Purpose.CHAT,
        EntryStatus.OK,
    )
    assert (entry.cost_nano_usd, entry.tokens, entry.model_served) == (COST, USED, "served")
    assert entry.price_id in house.uow.rows[DEFAULT_WORKSPACE].cost.prices


async def test_the_most_it_can_cost_is_set_aside_before_anything_is_sent() -> None:
    house = House(FakeLlm([END], held=0))
    house.llm.gate.clear()
    async with house.living() as service, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask(service))
        await eventually(lambda: house.llm.requests)
        assert house.entry.status is EntryStatus.RESERVED
        assert house.entry.reserved_nano_usd >= PROMPT * INPUT_NANO + 50 * OUTPUT_NANO
        assert house.llm.requests[0].call_id == house.entry.id
        house.llm.gate.set()
        await soon(asking)


async def test_the_hub_asks_on_somebodys_account_without_a_scope_of_theirs() -> None:
    house = House()
    bare = Principal(DEFAULT_WORKSPACE, "K1", frozenset(), GroupId("G1"))
    asked = replace(ASKED, call_id="made-before")
    async with house.living() as service:
        chunks = service.answer(bare, asked, Purpose.SAMPLING, server=(EndpointId("E1"), "mail"))
        async with aclosing(chunks):
            last = [chunk async for chunk in chunks][-1]
        with pytest.raises(DeniedError):
            await ask(service, principal=bare)
    entry = house.entry
    assert (entry.id, last.entry_id, entry.purpose) == (
        "made-before",
        "made-before",
        Purpose.SAMPLING,
    )
    party = entry.party
    assert (party.subject, party.group, party.endpoint_id, party.server) == (
        "K1",
        "G1",
        "E1",
        "mail",
    )


async def test_an_estimate_is_what_would_be_set_aside_and_sets_nothing_aside() -> None:
    house = House()
    async with house.living() as service:
        estimate = await service.estimate(OWNER, ASKED)
        assert estimate == await service.check(OWNER, ASKED, Purpose.CHAT)
        assert house.entries == []
        await ask(service)
    assert estimate == Estimate(
        model="priced",
        prompt_tokens=PROMPT,
        max_tokens=50,
        most_nano_usd=house.entry.reserved_nano_usd,
    )


async def test_a_check_says_what_a_budget_would_say_and_leaves_no_trace() -> None:
    house = House(budgets=(budget("B", 10, hard_stop=True),))
    async with house.living() as service:
        assert (await service.estimate(OWNER, ASKED)).most_nano_usd is not None
        with pytest.raises(QuotaError) as caught:
            await service.check(OWNER, ASKED, Purpose.CHAT)
        assert caught.value.code == "budget_exceeded"
    assert house.entries == []


async def test_a_sound_is_set_aside_by_its_size() -> None:
    house = House()
    sound = {"type": "input_audio", "input_audio": {"data": 40_000 * "A", "format": "mp3"}}
    spoken = replace(ASKED, messages=[{"role": "user", "content": [sound]}])
    async with house.living() as service:
        estimate = await service.estimate(OWNER, spoken)
    assert estimate.most_nano_usd is not None
    assert estimate.most_nano_usd >= 1_000 * INPUT_NANO + 50 * OUTPUT_NANO


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
SEEN = {"type": "tool_result", "content": [{"type": "image", "source": {}}]}


@pytest.mark.parametrize(
    ("model", "each"), [("priced", 5_000), ("openai/gpt-4o-mini-2024-07-18", 50_000)]
)
async def test_pictures_are_set_aside_at_the_most_they_can_be(model: str, each: int) -> None:
    parts = [{"type": "text", "text": "image_url"}, PICTURE, PICTURE, SEEN, {"type": []}]
    house = House(FakeLlm([END]), model=model, models=(model,))
    async with house.living() as service:
        await ask(service, replace(ASKED, model="", messages=[{"role": "user", "content": parts}]))
    assert 3 * each <= house.entry.reserved_nano_usd / INPUT_NANO < 3 * each + 500


async def test_an_answer_without_an_end_is_cut_off_and_settled() -> None:
    house = House(FakeLlm([*SAID, END], held=2), longest_s=0.01)
    house.llm.gate.clear()
    async with house.living() as service:
        with pytest.raises(TimedOutError) as caught:
            await soon(ask(service))
    assert caught.value.code == "model_timeout"
    assert house.llm.closed == 1
    assert (house.entry.status, house.entry.error_code) == (EntryStatus.ERROR, "model_timeout")
    assert house.entry.cost_nano_usd == HEARD


async def test_a_reader_who_is_slow_holds_no_call_open() -> None:
    house = House()
    async with house.living() as service:
        chunks = service.complete(OWNER, ASKED, Purpose.CHAT)
        await anext(chunks)
        house.clock.advance(LONGEST_CALL_S)
        with pytest.raises(TimedOutError):
            await anext(chunks)
    assert house.llm.closed == 1
    assert house.entry.status is EntryStatus.ERROR


def test_no_call_lasts_until_other_hubs_take_it_for_dead() -> None:
    assert SHARED_RECOVER_AFTER.total_seconds() >= LONGEST_CALL_S + 120


async def test_a_reader_who_leaves_pays_for_what_was_said() -> None:
    house = House()
    async with house.living() as service:
        chunks = service.complete(OWNER, ASKED, Purpose.CHAT)
        await anext(chunks)
        await anext(chunks)
        await chunks.aclose()
    assert house.llm.closed == 1
    assert (house.entry.status, house.entry.cost_nano_usd) == (EntryStatus.ABORTED, HEARD)


async def test_a_cancelled_reader_pays_for_what_was_said_even_if_cancelled_again() -> None:
    house = House(FakeLlm([*SAID, END], held=2))
    house.llm.gate.clear()
    async with house.living() as service, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask(service))
        await eventually(lambda: house.llm.requests)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.sleep(0)
        asking.cancel()
    assert house.llm.closed == 1
    assert (house.entry.status, house.entry.cost_nano_usd) == (EntryStatus.ABORTED, HEARD)


@pytest.mark.parametrize(
    ("llm", "status", "cost"),
    [
        (FakeLlm([*SAID, replace(END, tokens=None)]), EntryStatus.ESTIMATED, HEARD),
        (FakeLlm([], error=FAULT), EntryStatus.ERROR, PROMPT * INPUT_NANO),
        (FakeLlm([], error=TimedOutError("silent")), EntryStatus.ERROR, PROMPT * INPUT_NANO),
        (FakeLlm([], error=refused(500)), EntryStatus.ERROR, 0),
        (FakeLlm([], error=refused(307)), EntryStatus.ERROR, 0),
        (FakeLlm([], error=NotConnectedError("nobody there")), EntryStatus.ERROR, 0),
        (FakeLlm([], error=InvalidError("not ours")), EntryStatus.ERROR, 0),
        (FakeLlm(SAID, error=FAULT), EntryStatus.ERROR, HEARD),
        (FakeLlm(SAID, error=TimedOutError("late")), EntryStatus.ERROR, HEARD),
        (FakeLlm(SAID, error=ValueError("a fault of ours")), EntryStatus.ERROR, HEARD),
    ],
)
async def test_an_answer_without_usage_costs_what_was_heard(
    llm: FakeLlm, status: EntryStatus, cost: int
) -> None:
    house = House(replace(llm, closed=0, requests=[], gate=asyncio.Event()))
    async with house.living() as service:
        with suppress(HubError, ValueError):
            await ask(service)
    code = getattr(llm.error, "code", "internal") if llm.error is not None else ""
    assert (house.entry.status, house.entry.cost_nano_usd) == (status, cost)
    assert house.entry.error_code == code


async def test_a_model_without_a_price_is_never_free() -> None:
    house = House(model="unheard-of")
    async with house.living() as service:
        last = (await ask(service))[-1]
    entry = house.entry
    assert last.cost_nano_usd is None
    assert (entry.status, entry.cost_nano_usd) == (EntryStatus.UNPRICED, None)
    assert (entry.reserved_nano_usd, entry.tokens) == (0, USED)


async def test_tool_calls_and_thoughts_are_counted_as_said() -> None:
    called = {"function": {"name": "add", "arguments": "{}"}}
    end = ModelChunk(finish_reason="tool_calls", tool_calls=(called,))
    house = House(FakeLlm([ModelChunk(reasoning="hm hm"), end]))
    async with house.living() as service:
        await ask(service)
    assert house.entry.tokens.completion > 2


async def test_a_budget_without_room_sends_nothing() -> None:
    house = House(budgets=(replace(budget("B-hub", 1_000), hard_stop=True),))
    async with house.living() as service:
        with pytest.raises(QuotaError) as caught:
            await ask(service)
    assert caught.value.code == "budget_exceeded"
    assert (house.llm.requests, house.entry.status) == ([], EntryStatus.REFUSED)


async def test_the_hub_says_the_model_and_caps_the_length() -> None:
    house = House()
    async with house.living() as service:
        await ask(service, replace(ASKED, max_tokens=0))
        await ask(service, replace(ASKED, max_tokens=5_000, model="other"))
    sent = [(one.model, one.max_tokens) for one in house.llm.requests]
    assert sent == [("priced", 100), ("other", 100)]


async def test_without_a_model_the_setting_is_named() -> None:
    house = House(model=None)
    async with house.living() as service:
        with pytest.raises(ConflictError) as caught:
            await ask(service)
    assert caught.value.code == "model_not_configured"
    assert "AGENTHUB_LLM__MODEL" in caught.value.message


async def test_no_messages_are_no_question() -> None:
    house = House()
    async with house.living() as service:
        with pytest.raises(InvalidError):
            await ask(service, replace(ASKED, messages=[]))
    assert house.entries == []


async def test_asking_needs_its_scope() -> None:
    house = House()
    reader = replace(OWNER, scopes=frozenset({Scope.HUB_READ, Scope.TOOLS_CALL}))
    async with house.living() as service:
        with pytest.raises(DeniedError):
            await ask(service, principal=reader)
    assert house.llm.requests == []


async def test_offers_begin_with_the_hubs_own_model() -> None:
    async with House(model="other").living() as service:
        offers = await service.offers(OWNER, "", 10)
        assert [(one.name, one.is_default) for one in offers] == [
            ("other", True),
            ("priced", False),
        ]
        assert offers[0].input_nano_usd == 1_000_000 * INPUT_NANO
        assert [one.name for one in await service.offers(OWNER, "PRI ced", 10)] == ["priced"]
        assert len(await service.offers(OWNER, "", 1)) == 1


async def test_half_a_character_is_settled_like_any_other() -> None:
    house = House(FakeLlm([ModelChunk(text="\ud83d"), ModelChunk(text="\ude00"), END]))
    async with house.living() as service:
        *_, last = await ask(service)
    assert last.cost_nano_usd == COST
    assert (house.entry.status, house.entry.cost_nano_usd) == (EntryStatus.OK, COST)


async def test_what_cannot_be_counted_costs_what_was_set_aside() -> None:
    class Uncountable(FakeLlm):
        async def count_text(self, model: str, text: str) -> int:
            raise ValueError("odd text")

    house = House(Uncountable([*SAID, ModelChunk(finish_reason="stop")]))
    async with house.living() as service:
        await ask(service)
    assert house.entry.status is EntryStatus.ESTIMATED
    assert house.entry.cost_nano_usd == PROMPT * INPUT_NANO + 50 * OUTPUT_NANO
