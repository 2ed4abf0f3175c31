"""Calls that wait for a person: they run on while their agents come and go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import (
    CancelledByCallerError,
    HubError,
    QuotaError,
    RpcError,
)
from agenthub.domain.ids import HeldCallId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import Caller
from agenthub.domain.services.calls import CallService, Deed, Errand, Outcome, without_round
from agenthub.domain.services.catalog.views import CatalogService, View
from agenthub.domain.services.hitl.callers import AbsentCaller
from agenthub.domain.services.hitl.leftovers import Leftovers
from agenthub.domain.services.hitl.people import People
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.threads import CallThread
from agenthub.domain.services.identity import IdentityService
from agenthub.domain.services.kept.holding import held_until
from agenthub.domain.services.kept.outcomes import Outcomes, is_taken, no_ticket
from agenthub.domain.services.kept.register import Held, Register, Waiting
from agenthub.domain.services.kept.revival import LOOK_EVERY_S, Revival
from agenthub.domain.services.kept.rows import (
    binding_of,
    kept_outcome,
    outcome_from,
    owner_of,
    row_of,
)

MAX_HELD = 500
MAX_HELD_BYTES = 32 * 1024 * 1024
"""Calls of one caller that may wait for people at a time, and their params."""
TIDY_EVERY_S = 30.0
WITHDRAWN = "The agent withdrew its call."

_logger = logging.getLogger(__name__)

Pause = Callable[[float], Awaitable[None]]
Carry = Callable[[], Coroutine[Any, Any, Outcome]]


class HeldCalls:
    """A resident: the calls' tasks are its own. Of a call that nobody asks about there is no row.

    Leave it before what the calls need; `stop` first, so that those that wait do so in the
    database, until `load` takes them up again.
    """

    def __init__(
        self,
        *,
        calls: CallService,
        catalog: CatalogService,
        clock: Clock,
        hold_s: float,
        identity: IdentityService,
        people: People,
        queue: HitlQueue,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._hold_s = hold_s
        self._leftovers = Leftovers(clock=clock, queue=queue)
        self._outcomes = Outcomes(clock=clock, hold_s=hold_s, pause=pause, queue=queue)
        self._people = people
        self._queue = queue
        self._pause = pause
        self._revival = Revival(
            calls=calls,
            catalog=catalog,
            clock=clock,
            identity=identity,
            pause=pause,
            patience_s=people.patience_s,
        )
        self._register = Register()
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def is_on(self) -> bool:
        """Say whether a call may have to wait for a person here."""
        return self._people.is_enabled

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._start(self._keep_tidy())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for task in tuple(self._running):
            task.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    def stop(self) -> None:
        """The hub is stopping: from now on a cancelled call is not withdrawn."""
        self._people.is_stopping = True
        self._outcomes.stop()

    async def carry(
        self,
        view: View,
        errand: Errand,
        caller: Caller,
        target: Target | None = None,
        *,
        hold_s: float | None = None,
    ) -> Outcome | Waiting:
        """As `CallService.carry`; where people are asked for longer than the hold: Waiting.

        A request equal to one that waits, or whose outcome nobody has fetched, goes on with that.
        Cancelling withdraws the call. Raises QuotaError (`too_many_held_calls`) as well.
        """
        if target is None:
            target = self._calls.target_of(view, errand, caller.era)
        people, tool = self._people, target.key if errand.deed is Deed.CALL_TOOL else None
        if errand.deed is Deed.COMPLETE or not people.may_be_asked(target.endpoint_id, tool):
            return await self._calls.carry(view, errand, caller, target)
        call = self._equal(view, errand, caller) or self._begin(view, errand, caller, target)
        try:
            return await self._attend(call, view.principal, caller, hold_s)
        except asyncio.CancelledError:
            self._give_up(call)
            raise

    async def resume(
        self,
        principal: Principal,
        ticket: str,
        caller: Caller,
        binding: str | None = None,
        *,
        hold_s: float | None = None,
    ) -> Outcome | Waiting:
        """Wait on for a held call, at most the hold; gives the same outcome each time.

        `binding` is that of the request (see `binding_of`), where it must be the same. Cancelling
        withdraws nothing: who has the ticket may come again. Raises NotFoundError
        (`ticket_not_found`), or what the call ended with.
        """
        call = self._register.at(ticket)
        if call is None:
            return await self._outcomes.wait(principal, HeldCallId(ticket), binding, hold_s)
        if call.owner != owner_of(principal) or binding not in (None, call.binding):
            raise no_ticket(ticket)
        return await self._attend(call, principal, caller, hold_s)

    async def load(self) -> None:
        """Take up what the last process left. Call when the servers begin to connect."""
        for row, requests in await self._leftovers.sort():
            if row.id not in self._register:
                self._take_up(row, requests)

    async def tidy(self) -> None:
        """Forget the outcomes whose time is over."""
        late = dict(self._register.done_before(self._clock.now()))
        if late:
            await self._queue.forget(list(late))
        for call in late.values():
            self._register.remove(call)

    def _begin(self, view: View, errand: Errand, caller: Caller, target: Target) -> Held:
        call = Held(owner_of(view.principal), target.server)
        draft = partial(self._draft, call, view, errand, caller)
        keeper = self._revival.keeper(view, errand, caller.era, draft, self._later)
        keeper = replace(keeper, room=partial(self._register.require_room, call))
        thread = CallThread(self._people, keeper, caller, target)
        self._launch(call, thread, lambda: self._calls.carry(view, errand, caller, target, thread))
        return call

    def _draft(self, call: Held, view: View, errand: Errand, caller: Caller) -> HeldCall:
        """Make a call's row, at its first question."""
        call.size_bytes = sum(map(len, errand.params.values()))
        count, size_bytes = self._register.load_of(call)
        if count > MAX_HELD or size_bytes > MAX_HELD_BYTES:
            raise QuotaError(
                "Too many of your calls wait for people already; try again later.",
                code="too_many_held_calls",
                retry_after_s=30.0,
            )
        call_id = call.id or self._people.new_call_id()
        row = row_of(call_id, view, errand, caller, self._clock.now(), self._queue.ttl)
        self._register.put(call, row)
        return row

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something written down; the hub does not stop before."""
        try:
            self._tasks.create_task(_quietly(work))
        except RuntimeError:  # it has stopped
            work.close()

    def _launch(self, call: Held, thread: CallThread, carry: Carry) -> None:
        def over(_: asyncio.Task[None]) -> None:
            call.done.set()
            thread.asked.set()

        call.thread = thread
        call.task = self._start(self._run(call, carry))
        call.task.add_done_callback(over)

    async def _run(self, call: Held, carry: Carry) -> None:
        try:
            call.outcome = await carry()
        except asyncio.CancelledError:
            call.outcome = CancelledByCallerError("The call was cancelled.")
            self._withdraw(call)
            raise
        except Exception as error:  # noqa: BLE001 - kept, and raised again where the agent waits
            call.outcome = error
        if call.id is not None:
            if call.task is not None:
                self._running.discard(call.task)  # a hub that stops waits for this
            await self._store(call)

    async def _store(self, call: Held) -> None:
        outcome, thread = call.outcome, call.thread
        is_fault = isinstance(outcome, Exception)
        if outcome is None or thread is None or (is_fault and self._people.is_stopping):
            return
        if thread.row is None or is_taken(outcome):
            # Nothing was asked after all, or another hub goes on with it.
            self._register.remove(call)
            return
        kept = kept_outcome(outcome)
        if is_fault and not isinstance(outcome, HubError | RpcError):
            _logger.error("a call that waited for a person failed", exc_info=outcome)
            call.outcome = outcome = outcome_from(kept)
        try:
            await thread.ended(kept)
        except Exception:
            _logger.exception("the outcome of a call could not be stored")
        else:
            call.outcome, call.thread = outcome if call.attended else None, None
        call.expires_at = self._clock.now() + self._queue.ttl

    async def _attend(
        self, call: Held, principal: Principal, caller: Caller, hold_s: float | None
    ) -> Outcome | Waiting:
        """Wait for the outcome, at most the hold from when a person is asked on."""
        thread = call.thread
        call.attended += 1
        if thread is not None:
            thread.listener = caller
        try:
            if thread is not None:
                await thread.asked.wait()
            caller.on_gone(call.leave)
            is_over = await held_until(
                call.done, self._hold_s if hold_s is None else hold_s, caller
            )
            if not is_over and thread is not None and call.id is not None:
                return self._ticket(call, call.id, thread)
        finally:
            call.attended -= 1
            if thread is not None:
                thread.listener = thread.caller
        if call.id is not None and is_taken(call.outcome):
            return await self._outcomes.wait(principal, call.id, None, hold_s)
        return await self._result(call)

    def _ticket(self, call: Held, call_id: HeldCallId, thread: CallThread) -> Waiting:
        """Let the agent go. Its call goes on alone, and may be found by an equal request."""
        thread.leave()
        if not call.has_ticket:
            call.has_ticket = True
            self._register.let_go(call)
        open_ones = thread.open
        return Waiting(
            ticket=call_id,
            server=call.server,
            kinds=tuple(dict.fromkeys(one.KIND.value for one in open_ones)),
            requests=tuple(one.id for one in open_ones),
            expires_at=thread.row.expires_at if thread.row else self._clock.now(),
        )

    async def _result(self, call: Held) -> Outcome:
        outcome = call.outcome
        if outcome is None and call.id is not None:
            outcome = await self._outcomes.of(call.id)
        self._deliver(call)
        if isinstance(outcome, Outcome):
            return outcome
        raise outcome or CancelledByCallerError("The call was cancelled.")

    def _deliver(self, call: Held) -> None:
        """Note that the agent has the outcome. Without a ticket nobody comes for it again."""
        if call.id is None or call.is_delivered:
            return
        if call.has_ticket:
            self._register.delivered(call)
            call.outcome = call.outcome if call.thread else None  # then it is stored
        else:
            self._register.remove(call)
        self._later(self._outcomes.delivered(call.id, is_kept=call.has_ticket))

    def _give_up(self, call: Held) -> None:
        """The agent wants it no more. Where the hub stops, that is no word of the agent's."""
        is_wanted = call.attended or call.has_ticket or self._people.is_stopping
        if is_wanted or call.outcome is not None or call.task is None or call.thread is None:
            return
        call.thread.why_dropped = WITHDRAWN
        call.task.cancel()

    def _withdraw(self, call: Held) -> None:
        if self._people.is_stopping:
            return
        self._register.remove(call)
        if call.thread is not None and call.thread.row is not None:
            self._later(self._queue.withdraw(call.thread.row, WITHDRAWN))

    def _equal(self, view: View, errand: Errand, caller: Caller) -> Held | None:
        """Find an equal call of the same caller's that nobody attends to."""
        if not self._register.has_idle or without_round(errand) is not errand:
            return None
        return self._register.idle(binding_of(view, errand), caller.agent, caller.conversation)

    def _take_up(self, row: HeldCall, requests: Sequence[HitlRequest]) -> None:
        """Go on with a stored call, or keep its outcome."""
        call = Held((row.workspace, row.subject))
        call.has_ticket, call.size_bytes = True, sum(map(len, row.params.values()))
        call.leave()  # sessions of agents end with the hub
        self._register.put(call, row)
        if row.status is HeldStatus.DONE:
            call.is_delivered, call.expires_at = row.delivered_at is not None, row.expires_at
            call.done.set()
        else:
            self._go_on(call, row, requests)
        if not call.is_delivered:
            self._register.let_go(call)

    def _go_on(self, call: Held, row: HeldCall, requests: Sequence[HitlRequest]) -> None:
        gone = AbsentCaller(
            era=Era(row.era), client=row.id, agent=row.agent, conversation=row.conversation
        )
        keeper = self._revival.keeper_of(row, self._later)
        keeper = replace(keeper, room=partial(self._register.require_room, call))
        thread = CallThread(self._people, keeper, gone, row=row)
        thread.know(requests)
        thread.asked.set()
        call.server = requests[0].origin.server if requests else ""
        self._launch(call, thread, lambda: self._continued(row, thread))

    async def _continued(self, row: HeldCall, thread: CallThread) -> Outcome:
        """Wait for the person, then for the server, and carry the errand on."""
        asked = await self._queue.wait(row.requests)
        if not self._queue.is_dead(None, row.expires_at):
            await self._pause(LOOK_EVERY_S)  # another hub may live that has the agent with it
        try:
            view, errand, target = await self._revival.found(row, asked)
        except Exception as error:
            why = error.message if isinstance(error, HubError) else "The hub failed to go on."
            await thread.fail(row.requests, why)
            raise
        thread.target = target
        return await self._calls.carry(view, errand, thread.caller, target, thread)

    async def _keep_tidy(self) -> None:
        while True:
            await self._pause(TIDY_EVERY_S)
            try:
                await self.tidy()
            except Exception:
                _logger.exception("outcomes could not be forgotten; trying again later")


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        _logger.exception("what became of a call that waited could not be written down")
