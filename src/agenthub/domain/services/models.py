"""Model calls: money set aside before, settled exactly after, however a call ends."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from agenthub.domain.entities.cost import (
    Entry,
    EntryKind,
    EntryStatus,
    Party,
    PriceSnapshot,
    Purpose,
    Tokens,
)
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.entities.media import media_tokens
from agenthub.domain.exceptions import (
    ConflictError,
    HubError,
    InvalidError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ids import EndpointId, EntryId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.llm import Llm, ModelChunk, ModelRequest, PriceList
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.prices import PriceBook

MARGIN_DIVISOR = 4
"""A reservation has a quarter more prompt than was counted: tokenizers differ by as much."""
MARGIN_TOKENS = 32
LONGEST_CALL_S = 600.0
"""A whole answer: other hubs on the same database take a call for dead some minutes later."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOffer:
    """A model and what a million of its tokens cost, None where nobody knows."""

    name: str
    is_default: bool = False
    input_nano_usd: int | None = None
    output_nano_usd: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call may come to. `most_nano_usd` is None where nobody knows the price."""

    model: str
    prompt_tokens: int
    max_tokens: int
    most_nano_usd: int | None


@dataclass(slots=True, kw_only=True)
class _Call:
    """One call under way, and what has been heard of it."""

    principal: Principal
    request: ModelRequest
    entry: Entry
    price: PriceSnapshot | None
    prompt: int
    begun_s: float
    heard: list[str] = field(default_factory=list[str])
    last: ModelChunk | None = None
    error_code: str = ""
    is_unsure: bool = False
    """It failed in a way in which the provider may have read the prompt all the same."""

    def hear(self, chunk: ModelChunk) -> None:
        self.heard += [part for part in (chunk.reasoning, chunk.text) if part]
        if chunk.tool_calls:
            self.heard.append(json.dumps([call.get("function") for call in chunk.tool_calls]))
        if chunk.finish_reason is not None:
            self.last = chunk


class ModelService:
    """A resident: what a call has cost is settled to the end even when its caller is gone."""

    def __init__(
        self,
        *,
        book: PriceBook,
        budgets: BudgetService,
        clock: Clock,
        ids: IdFactory,
        llm: Llm,
        max_tokens: int,
        model: str | None,
        prices: PriceList,
        longest_s: float = LONGEST_CALL_S,
    ) -> None:
        self._book = book
        self._budgets = budgets
        self._clock = clock
        self._ids = ids
        self._llm = llm
        self._longest_s = longest_s
        self._max_tokens = max_tokens
        self._model = model
        self._prices = prices
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let settlements end."""
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    async def complete(
        self, principal: Principal, request: ModelRequest, purpose: Purpose
    ) -> AsyncGenerator[ModelChunk]:
        """Stream one completion that the principal asks for; as `answer`."""
        principal.require(Scope.CHAT)
        async with aclosing(self.answer(principal, request, purpose)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def answer(
        self,
        principal: Principal,
        request: ModelRequest,
        purpose: Purpose,
        *,
        server: tuple[EndpointId, str] | None = None,
    ) -> AsyncGenerator[ModelChunk]:
        """Stream one completion; close the generator to end it.

        The principal pays, and so does the server (id, name) where there is one; nobody's scopes
        are looked at. The last chunk has the cost, None where nobody knows it, and the ledger's
        entry, whose id is the request's `call_id` where it has one. Raises what the model's
        provider and the budgets raise, and ConflictError (`model_not_configured`).
        """
        call = await self._drafted(principal, request, purpose, server)
        await self._budgets.reserve(principal, call.entry)
        call.begun_s = self._clock.monotonic()
        status = EntryStatus.ABORTED
        try:
            async with (
                aclosing(self._llm.complete(call.request)) as answer,
                aclosing(self._in_time(call, answer)) as chunks,
            ):
                async for chunk in chunks:
                    call.hear(chunk)
                    if chunk.finish_reason is None:
                        yield chunk
            status = EntryStatus.OK
        except Exception as error:
            status = EntryStatus.ERROR
            call.error_code = error.code if isinstance(error, HubError) else "internal"
            call.is_unsure = may_be_billed(error)
            raise
        finally:
            cost_nano_usd = await self._ended(call, status)
        if call.last is not None:
            yield replace(call.last, cost_nano_usd=cost_nano_usd, entry_id=call.entry.id)

    async def _in_time(
        self, call: _Call, chunks: AsyncGenerator[ModelChunk]
    ) -> AsyncGenerator[ModelChunk]:
        """Give what comes within the time of a whole call. Raises TimedOutError after it."""
        while True:
            left_s = self._longest_s - (self._clock.monotonic() - call.begun_s)
            try:
                # Around each wait alone: a deadline held across a yield would cancel the reader.
                async with asyncio.timeout(left_s):
                    if left_s <= 0:
                        raise TimeoutError
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                message = f"The model's answer took longer than {self._longest_s:g} seconds."
                raise TimedOutError(message, code="model_timeout") from None
            yield chunk

    @property
    def model(self) -> str | None:
        """The hub's own, None where it has none."""
        return self._model

    async def estimate(self, principal: Principal, request: ModelRequest) -> Estimate:
        """Reckon the most that a call can cost. Raises ConflictError, InvalidError."""
        return _estimate_of(await self._drafted(principal, request, Purpose.CHAT, None))

    async def check(
        self,
        principal: Principal,
        request: ModelRequest,
        purpose: Purpose,
        *,
        server: tuple[EndpointId, str] | None = None,
    ) -> Estimate:
        """As `estimate`; raises QuotaError too where a budget would refuse the call just now."""
        call = await self._drafted(principal, request, purpose, server)
        refusal = await self._budgets.refusal(principal, call.entry)
        if refusal is not None:
            raise refusal
        return _estimate_of(call)

    async def offers(self, principal: Principal, query: str, limit: int) -> list[ModelOffer]:
        """List models whose price is known and whose name has all words, the hub's own first."""
        principal.require(Scope.HUB_READ)
        await self._prices.load()
        words = query.lower().split()
        names = [self._model] if self._model is not None else []
        names += [name for name in self._prices.models() if name != self._model]
        fitting = [name for name in names if all(word in name.lower() for word in words)]
        return [self._offer(name) for name in fitting[:limit]]

    def _offer(self, name: str) -> ModelOffer:
        price = self._prices.price(name)
        costs = (None, None) if price is None else self._prices.per_million_nano_usd(price)
        return ModelOffer(
            name=name,
            is_default=name == self._model,
            input_nano_usd=costs[0],
            output_nano_usd=costs[1],
        )

    def _filled(self, request: ModelRequest) -> ModelRequest:
        """Put the hub's own in place of what is not said, and its cap on what is."""
        if self._model is None:
            raise ConflictError(
                "The hub has no language model: set AGENTHUB_LLM__MODEL, and AGENTHUB_LLM__API_KEY "
                "or AGENTHUB_LLM__API_BASE with it, and start the hub again.",
                code="model_not_configured",
            )
        if not request.messages:
            raise InvalidError.at("messages", message="has at least one message")
        wanted = request.max_tokens or self._max_tokens
        return replace(
            request,
            model=request.model or self._model,
            max_tokens=min(max(wanted, 1), self._max_tokens),
            call_id=request.call_id or self._ids.new(),
        )

    async def _drafted(
        self,
        principal: Principal,
        request: ModelRequest,
        purpose: Purpose,
        server: tuple[EndpointId, str] | None,
    ) -> _Call:
        """Reckon the most that the call can cost; nothing is set aside yet."""
        request = self._filled(request)
        prompt = await self._llm.count(request)
        price = await self._book.today(principal, request.model)
        pictures, sounds = media_tokens(request.messages, request.model)
        expected = prompt + prompt // MARGIN_DIVISOR + MARGIN_TOKENS + pictures + sounds
        reserved = 0
        if price is not None:
            reserved = self._book.most(price, expected, request.max_tokens, sounds)
        endpoint_id, name = server or ("", "")
        entry = Entry(
            id=EntryId(request.call_id),
            workspace=principal.workspace,
            at=self._clock.now(),
            kind=EntryKind.MODEL,
            purpose=purpose,
            party=Party(
                subject=principal.subject,
                group=principal.group or "",
                endpoint_id=endpoint_id,
                server=name,
                model=request.model,
            ),
            status=EntryStatus.RESERVED,
            bytes_in=len(json.dumps(request.messages)),
            price_id="" if price is None else price.id,
            reserved_nano_usd=reserved,
        )
        return _Call(
            principal=principal,
            request=request,
            entry=entry,
            price=price,
            prompt=prompt,
            begun_s=self._clock.monotonic(),
        )

    async def _ended(self, call: _Call, status: EntryStatus) -> int | None:
        """Settle a call, to the end whoever gives up waiting for it; give what it cost."""
        costs: list[int | None] = []
        work = self._tasks.create_task(_logged(self._settle(call, status, costs)), name="settling")
        await asyncio.wait([work])
        return costs[0] if costs else None

    async def _settle(self, call: _Call, status: EntryStatus, costs: list[int | None]) -> None:
        tokens, status = await self._used(call, status)
        cost = None if call.price is None else self._book.cost(call.price, tokens)
        if status is EntryStatus.ERROR and tokens == Tokens():
            cost = 0
        if cost is None and status in (EntryStatus.OK, EntryStatus.ESTIMATED):
            status = EntryStatus.UNPRICED
        costs.append(cost)
        last = call.last or ModelChunk()
        settled = replace(
            call.entry,
            status=status,
            error_code=call.error_code,
            # Providers cut characters in half, and half of one has no UTF-8 of its own.
            bytes_out=sum(len(part.encode(errors="surrogatepass")) for part in call.heard),
            duration_us=max(0, int((self._clock.monotonic() - call.begun_s) * 1_000_000)),
            model_served=last.model or "",
            tokens=tokens,
            cost_nano_usd=cost,
        )
        await self._budgets.settle(call.principal, settled)

    async def _used(self, call: _Call, status: EntryStatus) -> tuple[Tokens, EntryStatus]:
        """Give what the provider told, or what can be reckoned from what was heard of it."""
        if call.last is not None and call.last.tokens is not None:
            return call.last.tokens, EntryStatus.OK if status is EntryStatus.ABORTED else status
        if status is EntryStatus.ERROR and not call.heard and not call.is_unsure:
            return Tokens(), status
        said = "".join(call.heard)
        try:
            completion = await self._llm.count_text(call.request.model, said) if said else 0
        except Exception as error:  # noqa: BLE001  whatever it is, the call is to be settled
            _logger.warning("an answer cannot be counted: %s", type(error).__name__)
            completion = call.request.max_tokens
        tokens = Tokens(prompt=call.prompt, completion=completion)
        return tokens, EntryStatus.ESTIMATED if status is EntryStatus.OK else status


def _estimate_of(call: _Call) -> Estimate:
    return Estimate(
        model=call.request.model,
        prompt_tokens=call.prompt,
        max_tokens=call.request.max_tokens,
        most_nano_usd=None if call.price is None else call.entry.reserved_nano_usd,
    )


def may_be_billed(error: Exception) -> bool:
    """Say whether a provider that said nothing may still bill the prompt: it did not refuse it."""
    if not isinstance(error, TimedOutError | UnavailableError | UpstreamError):
        return False
    return error.reached_server and error.http_status is None


async def _logged(work: Coroutine[None, None, None]) -> None:
    """Run work whose failure must not end the others of its task group."""
    try:
        await work
    except Exception:
        _logger.exception("a model call could not be settled")
