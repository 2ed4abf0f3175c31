"""Approved sampling requests at the model: each is asked once, whatever crashes in between."""

import asyncio
import logging
from collections.abc import Generator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from agenthub.domain.entities.cost import Purpose
from agenthub.domain.entities.hitl.chat_form import ChatForm, chat_form
from agenthub.domain.entities.hitl.chat_result import edited_params, message_result
from agenthub.domain.entities.hitl.held_call import HeldStatus
from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import (
    ConflictError,
    HubError,
    NotFoundError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ids import EndpointId, EntryId, RequestId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.llm import ModelChunk, ModelRequest
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.models import LONGEST_CALL_S, ModelService, may_be_billed

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
RECOVER_EVERY_S = 60.0
RECOVERED_AT_ONCE = 1_000
PATIENCE = timedelta(minutes=1)
"""After which what was approved and not begun is run, though its call may be a dead process's."""
UNWANTED = "The call that asked this is no more."
LEFT_BEHIND = (
    "What became of the model's answer is not known: the hub stopped, or lost its database, while "
    "the model was asked. It may have been paid for, and is not asked again by itself."
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A whole answer."""

    text: str
    last: ModelChunk


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why there is no answer, for the person; it is free where nothing can be billed."""

    reason: str
    is_free: bool = False


class ModelRuns:
    """A resident; each run is a task of its own.

    A run is begun in the database (this process's lease, the ledger's entry, the most it can cost)
    before the model is asked, and its answer is kept until the database takes it. What a dead
    process has begun is not begun again.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ids: IdFactory,
        models: ModelService,
        queue: HitlQueue,
        uow: UnitOfWork,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._models = models
        self._queue = queue
        self._uow = uow
        self._running: set[RequestId] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.create_task(self._keep_recovering(), name="sampling-recovery")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up on models, and let what was heard be stored."""
        self._closing.set()
        for task in self._asking:
            task.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    def start(self, request: SamplingRequest) -> None:
        """Ask the model for an approved request. Does not wait."""
        if request.id not in self._running and not self._closing.is_set():
            self._running.add(request.id)
            self._tasks.create_task(self._run(request), name="sampling")

    async def recover(self) -> None:
        """Run what was approved and not begun; end what a dead process has begun."""
        async with self._uow.read(OWNER) as stored:
            found = await stored.requests.page(
                RequestKind.SAMPLING, statuses=[RequestStatus.APPROVED], limit=RECOVERED_AT_ONCE
            )
        for request in found:
            if request.result is not None or request.id in self._running:
                continue
            if request.lease is None:
                await self._take_up(_sampling(request))
            elif request.lease == self._queue.lease or self._is_dead(request):
                await self._fail(request, LEFT_BEHIND)

    async def _take_up(self, request: SamplingRequest) -> None:
        """Run what nobody has begun, unless nobody could use the answer.

        A call whose server waits on a connection cannot outlive its process, which says so soon.
        """
        call = await self._queue.held(request.held)
        if call is None or call.status is HeldStatus.DONE:
            await self._fail(request, f"{UNWANTED} Nothing was spent.", is_free=True)
        elif call.going_on is not None or self._waited(request) >= PATIENCE:
            self.start(request)

    def _waited(self, request: SamplingRequest) -> timedelta:
        return self._clock.now() - (request.decided_at or request.created_at)

    def _is_dead(self, request: HitlRequest) -> bool:
        begun_at = request.decided_at or request.created_at
        end = max(request.expires_at, begun_at + timedelta(seconds=LONGEST_CALL_S))
        return self._queue.is_dead(request.lease, end)

    async def _keep_recovering(self) -> None:
        while not self._closing.is_set():
            try:
                await self.recover()
            except Exception:
                _logger.exception("approved sampling requests could not be looked at; once more")
            await self._is_closing_within(RECOVER_EVERY_S)

    async def _run(self, request: SamplingRequest) -> None:
        try:
            await self._carry_out(request)
        except (ConflictError, NotFoundError):
            pass  # somebody else has begun it, or ended it
        except UnavailableError as error:
            _logger.warning("a sampling request waits for the database: %s", error.message)
        except Exception:
            _logger.exception("the sampling request %s cannot be carried out", request.id)
        finally:
            self._running.discard(request.id)

    async def _carry_out(self, request: SamplingRequest) -> None:
        try:
            form = form_of(request.shown, request.decision or {})
            wanted = model_request(form, request.decision or {})
            estimate = await self._models.estimate(payer(request), wanted)
        except UnavailableError:
            raise
        except HubError as error:
            await self._fail(request, f"{error.message} Nothing was spent.", is_free=True)
            return
        wanted = replace(wanted, call_id=self._ids.new())
        if self._closing.is_set():
            return

        def begin(found: HitlRequest, now: datetime) -> HitlRequest:
            begun = _sampling(found.begun(self._queue.lease))
            most = estimate.most_nano_usd
            return replace(
                begun,
                entry=EntryId(wanted.call_id),
                reserved_nano_usd=begun.reserved_nano_usd if most is None else most,
            )

        begun = await self._queue.change(request.id, begin)
        await self._ask(_sampling(begun), form, wanted)

    async def _ask(self, request: SamplingRequest, form: ChatForm, wanted: ModelRequest) -> None:
        """Ask the model and keep what it says, also that it failed."""
        outcome = await self._outcome(request, wanted)
        if isinstance(outcome, _Failed):
            await self._fail(request, outcome.reason, is_free=outcome.is_free)
        else:
            await self._store(request, _result(form, outcome, wanted.model), outcome.last)

    async def _outcome(self, request: SamplingRequest, wanted: ModelRequest) -> _Heard | _Failed:
        parts: list[str] = []
        task = asyncio.current_task()
        assert task is not None
        try:
            with self._hanging_up(request.id, task):
                return await self._hear(request, wanted, parts)
        except asyncio.CancelledError:
            # Of the desk's own: nobody else could tell the person before the hub's next start.
            task.uncancel()
            return _Failed(LEFT_BEHIND)
        except HubError as error:
            is_free = not parts and not may_be_billed(error)
            end = "Nothing was spent." if is_free else "It may have been paid for."
            return _Failed(f"{error.message} {end}", is_free=is_free)
        except Exception:
            _logger.exception("the model could not be asked")
            return _Failed("The hub has a fault; see its log. It may have been paid for.")

    @contextmanager
    def _hanging_up(self, request_id: RequestId, task: asyncio.Task[None]) -> Generator[None]:
        """Cancel this task when the hub stops, and when nobody waits for the answer any more."""
        if self._closing.is_set():
            raise asyncio.CancelledError
        watch = self._tasks.create_task(self._hang_up_when_over(request_id, task), name="sampling")
        self._asking.add(task)
        try:
            yield
        finally:
            self._asking.discard(task)
            watch.cancel()

    async def _hang_up_when_over(self, request_id: RequestId, task: asyncio.Task[None]) -> None:
        try:
            await self._queue.wait([request_id])
        except NotFoundError:
            pass
        except Exception:
            _logger.exception("whether an answer is still waited for is not known")
            return
        if task in self._asking:
            task.cancel()

    async def _hear(
        self, request: SamplingRequest, wanted: ModelRequest, parts: list[str]
    ) -> _Heard:
        last: ModelChunk | None = None
        origin = request.origin
        chunks = self._models.answer(
            payer(request), wanted, Purpose.SAMPLING, server=server_of(request)
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                parts.append(chunk.text)
                last = chunk if chunk.finish_reason is not None else last
        if last is None:
            raise UpstreamError(
                f"The model's answer for {origin.server!r} broke off.", code="model_fault"
            )
        return _Heard("".join(parts), last)

    async def _store(
        self, request: SamplingRequest, result: dict[str, Any], last: ModelChunk
    ) -> None:
        """Keep an answer that was paid for, and try again until the database takes it."""

        def move(found: HitlRequest, now: datetime) -> HitlRequest:
            moved = _sampling(found).answered(result, last.entry_id, last.cost_nano_usd, now)
            return replace(moved, expires_at=now + self._queue.ttl) if moved.is_open else moved

        pause_s = FIRST_RETRY_S
        while True:
            try:
                await self._queue.change(request.id, move)
            except UnavailableError as error:
                _logger.warning("a model's answer waits for the database: %s", error.message)
                if self._closing.is_set():
                    raise
                await self._is_closing_within(pause_s)
                pause_s = min(2 * pause_s, LONGEST_RETRY_S)
            else:
                return

    async def _fail(self, request: HitlRequest, reason: str, *, is_free: bool = False) -> None:
        """End a request, unless it has moved on since; it is free where nothing can be billed."""

        def move(found: HitlRequest, now: datetime) -> HitlRequest:
            if found.result is not None or found.lease != request.lease:
                raise ConflictError("It has moved on.", code="request_decided")
            failed = _sampling(found.failed(reason, now))
            if not is_free:
                return failed
            return replace(failed, reserved_nano_usd=0, cost_nano_usd=0)

        with suppress(ConflictError, NotFoundError):
            await self._queue.change(request.id, move)

    async def _is_closing_within(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True


def payer(request: SamplingRequest) -> Principal:
    """Give who caused the request, and is charged for it; without any scope of theirs."""
    origin = request.origin
    return Principal(request.workspace, origin.subject, frozenset(), origin.group)


def server_of(request: SamplingRequest) -> tuple[EndpointId, str]:
    """Give the server that asked, which is charged for it as well."""
    return request.origin.endpoint_id, request.origin.server


def form_of(shown: Mapping[str, Any], decision: Mapping[str, Any]) -> ChatForm:
    """Give what the model is to be asked, with a person's edits. Raises InvalidError."""
    return chat_form(edited_params(shown, decision))


def model_request(form: ChatForm, decision: Mapping[str, Any]) -> ModelRequest:
    """Make the model call of a form; the model is the one decided on."""
    return ModelRequest(
        messages=form.messages,
        model=decision.get("model") or "",
        tools=form.tools,
        tool_choice=form.tool_choice,
        max_tokens=form.max_tokens,
        temperature=form.temperature,
        stop=form.stop,
    )


def _result(form: ChatForm, heard: _Heard, model: str) -> dict[str, Any]:
    return message_result(
        text=heard.text,
        calls=heard.last.tool_calls,
        finish_reason=heard.last.finish_reason or "",
        model=heard.last.model or model,
        names=form.names,
    )


def _sampling(request: HitlRequest) -> SamplingRequest:
    assert isinstance(request, SamplingRequest)
    return request
