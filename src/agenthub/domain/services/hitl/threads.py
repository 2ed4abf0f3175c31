"""One call's dealings with people while it runs, and the agent that it stands for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.entities.hitl.request import HitlRequest, Origin, RequestStatus
from agenthub.domain.entities.hitl.rules import ApprovalPolicy, PolicyAction, ToolUse
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.exceptions import (
    ConflictError,
    DeclinedError,
    HubError,
    NotFoundError,
    QuotaError,
    RpcError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ids import RequestId
from agenthub.domain.ports.outbound.mcp_client import Caller, InputRequired, Question, RawObject
from agenthub.domain.services.hitl.callers import AbsentCaller, retry_with
from agenthub.domain.services.hitl.leftovers import change, completed
from agenthub.domain.services.hitl.people import People, answer_of, fault_of

MAX_OPEN = 50
"""Questions of one call at a time: what a server asks must not crowd out all others'."""

_logger = logging.getLogger(__name__)

Make = Callable[[HeldCall], HitlRequest]


@dataclass(frozen=True, slots=True)
class Keeper:
    """What a thread needs of whoever keeps its call.

    `draft` makes the call's row (QuotaError), `later` has work done that outlives the call,
    `check` says whether the caller may still do what it began (HubError), `where` leads to the
    call's target as things are now (HubError), and `room` says whether the caller's calls may ask
    people so many questions more (QuotaError).
    """

    draft: Callable[[], HeldCall]
    later: Callable[[Coroutine[Any, Any, None]], None]
    check: Callable[[], Awaitable[None]]
    where: Callable[[], Target]
    room: Callable[[int], None] = lambda _: None


class CallThread:
    """Costs nothing but itself until the first question to a person; then there is a row.

    `caller` is asked, `listener` hears of progress: the agent, while it is there. `row` is the
    call as it is stored. With a row at the beginning it goes on with a call after a restart.
    """

    def __init__(
        self,
        people: People,
        keeper: Keeper,
        caller: Caller,
        target: Target | None = None,
        row: HeldCall | None = None,
    ) -> None:
        self.people = people
        self.caller = self.listener = caller
        self.target = target
        """Where the call itself leads; what stands in for it cannot go on after a restart."""
        self.row: HeldCall | None = row
        self.is_alone = row is not None
        self.asked = asyncio.Event()
        self.arguments: dict[str, Any] | None = None
        """As a person changed them."""
        self.answered: Sequence[HitlRequest] = ()
        """The round that was asked before a restart."""
        self.why_dropped = "The server withdrew its question."
        self._keeper = keeper
        self._going_on = None if row is None else row.going_on
        self._open: dict[RequestId, HitlRequest] = {}
        self._begun: RequestId | None = None
        self._is_unsure = False
        self._lock = asyncio.Lock()
        if self._going_on is not None:
            self.arguments = self._going_on.get("arguments")

    @property
    def open(self) -> tuple[HitlRequest, ...]:
        """The questions that wait for people now."""
        return tuple(self._open.values())

    @property
    def is_held(self) -> bool:
        """Say whether a person was asked, so that nobody but the hub can go on with the call."""
        return self.is_alone or self.row is not None

    def continues(self, target: Target) -> bool:
        """Say whether the call takes up a round that this target asked before a restart."""
        is_round = self._going_on is not None and "keys" in self._going_on
        return is_round and target == self.target

    @property
    def awaits_approval(self) -> bool:
        """Say whether the call takes up an approval that was asked for before a restart."""
        return self._going_on is not None and "approval" in self._going_on

    def leave(self) -> None:
        """The agent has gone, with a ticket; from now on only people are asked."""
        self.is_alone = True
        gone = AbsentCaller(
            era=self.caller.era,
            client=self.caller.client,
            agent=self.caller.agent,
            conversation=self.caller.conversation,
        )
        self.caller = self.listener = gone

    def know(self, requests: Iterable[HitlRequest]) -> None:
        """Learn of the questions that were open before a restart."""
        self._open |= {request.id: request for request in requests}

    async def clear(
        self, use: ToolUse, policy: ApprovalPolicy | None, target: Target, tool: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Have a person let the call pass; give the arguments, where they were changed.

        Raises DeclinedError (`call_denied`), GoneError. `tool` is its definition.
        """
        if self.awaits_approval and self.row is not None:
            ids, self._going_on = self.row.requests, None
            [settled] = await self._settled(ids)
        elif policy is None:
            return None
        else:
            require_no_denial(policy)
            going_on = {"approval": True} if target == self.target else None
            make = self._approval(use, policy, target, tool)
            [settled] = await self._ask([make], going_on)
        return await self._cleared(settled, target)

    async def question(self, question: Question, target: Target) -> bytes:
        """Have a person answer what a server asks in the middle of a request.

        On one pipe that may be another request than this call's, which may end meanwhile.
        """
        make = self._request(question, "", target)
        [settled] = await self._ask([make], None)
        answer = answer_of(settled)
        if self.row is None or self.row.status is not HeldStatus.DONE:
            await self._go_on()
        return answer

    async def round(
        self, needed: InputRequired, target: Target, given: Mapping[str, bytes]
    ) -> RawObject:
        """Have a person answer one round of a modern server; give the retry's extra params.

        `given` are the answers that the agent has given to other questions of the round.
        """
        keys = list(needed.requests)
        going_on: dict[str, Any] = {"keys": keys, "state": needed.state}
        if given:
            going_on["given"] = {key: answer.decode() for key, answer in given.items()}
        if self.arguments is not None:
            going_on["arguments"] = self.arguments
        makes = [self._request(one, key, target) for key, one in needed.requests.items()]
        try:
            settled = await self._ask(makes, going_on if target == self.target else None)
        except RpcError as error:
            # Meant for the server, which is not there to hear it.
            raise UpstreamError(error.message, code="question_refused") from error
        return await self._answered(going_on, settled)

    async def given(self) -> RawObject:
        """Give what the first request brings along, after a restart: answers and state."""
        if self._going_on is None or self.row is None:
            return {}
        going_on, self._going_on = self._going_on, None
        self.answered = await self._settled(self.row.requests)
        return await self._answered(going_on, self.answered)

    async def give_way(self) -> None:
        """Another tool stands in: a round that was asked before a restart is not gone on with."""
        if self._going_on is not None:
            self._going_on = None
            self._open.clear()
            await self._go_on()

    async def called(self, error: BaseException | None) -> None:
        """Note that the call a person let pass was made, or why not.

        What it came to does not depend on whether that can be noted: the next start makes up for
        it.
        """
        if self._begun is None:
            return
        begun, self._begun = self._begun, None
        try:
            if isinstance(error, HubError) and not error.reached_server:
                await self.fail([begun], error.message)
            else:
                await change(self.people.queue, begun, completed)
        except UnavailableError as fault:
            _logger.warning("what became of the approval %s is not noted: %s", begun, fault.message)

    async def fail(self, ids: Sequence[RequestId], reason: str) -> None:
        """Say why these came to nothing, to the person too; those that are open still end."""
        for one in ids:
            await change(self.people.queue, one, lambda request, now: request.undone(reason, now))

    async def ended(self, outcome: dict[str, Any]) -> None:
        """Store what the call came to. Raises ConflictError."""
        async with self._lock:
            row = await self._stored()
            if row is None:
                return
            until = self.people.clock.now() + self.people.queue.ttl
            await self._keep(row.done(outcome, until), row)

    def _approval(
        self, use: ToolUse, policy: ApprovalPolicy, target: Target, tool: Mapping[str, Any]
    ) -> Make:
        title, text = tool.get("title"), tool.get("description")

        def make(row: HeldCall) -> HitlRequest:
            return self.people.approvals.make(
                use,
                policy,
                origin=_origin(row, target),
                held=row.id,
                workspace=row.workspace,
                title=title if isinstance(title, str) else "",
                description=text if isinstance(text, str) else "",
            )

        return make

    def _request(self, question: Question, key: str, target: Target) -> Make:
        def make(row: HeldCall) -> HitlRequest:
            origin = _origin(row, target)
            if not question.is_attributed:
                origin = Origin(server=target.server, endpoint_id=target.endpoint_id)
            return self.people.request_of(question, key, origin, row)

        return make

    async def _cleared(self, approval: HitlRequest, target: Target) -> dict[str, Any] | None:
        if approval.status is RequestStatus.REJECTED:
            words = f": {approval.reason}" if approval.reason else "."
            text = f"A person at the hub did not allow this call{words}"
            raise DeclinedError(text, code="call_denied")
        if approval.status is RequestStatus.COMPLETED:
            raise ConflictError("Another hub has gone on with this call.", code="call_taken")
        if approval.status is not RequestStatus.APPROVED:
            raise fault_of(approval)
        try:
            if target == self.target:
                require_same(self._keeper.where(), approval)
            await self._go_on([approval.id])
        except ConflictError:
            raise  # somebody else goes on with it
        except Exception as error:
            why = error.message if isinstance(error, HubError) else "The hub failed to go on."
            await self.fail([approval.id], why)
            raise
        self._begun = approval.id
        self.arguments = (approval.decision or {}).get("arguments")
        return self.arguments

    async def _answered(
        self, going_on: dict[str, Any], settled: Sequence[HitlRequest]
    ) -> RawObject:
        answers = [answer_of(request) for request in settled]
        await self._go_on()
        of_agent: dict[str, str] = going_on.get("given", {})
        by_key = {key: answer.encode() for key, answer in of_agent.items()}
        by_key |= zip(going_on["keys"], answers, strict=True)
        return retry_with(by_key, going_on["state"])

    async def _ask(
        self, makes: Sequence[Make], going_on: dict[str, Any] | None
    ) -> list[HitlRequest]:
        await self.called(None)
        async with self._lock:
            requests = await self._put(makes, going_on)
        self.asked.set()
        ids = [request.id for request in requests]
        try:
            for request in requests:
                if isinstance(request, SamplingRequest):
                    await self.people.sampling.after_asked(request)
        except BaseException:
            self._drop(ids)
            raise
        return await self._settled(ids)

    async def _put(
        self, makes: Sequence[Make], going_on: dict[str, Any] | None
    ) -> list[HitlRequest]:
        """Store the call and its questions. What is cancelled meanwhile may be stored or not."""
        people, was = self.people, await self._stored()
        if len(self._open) + len(makes) > MAX_OPEN:
            text = f"This call asks people more than {MAX_OPEN} questions at a time."
            raise QuotaError(text, code="too_many_requests_waiting")
        self._keeper.room(len(makes))
        row = was or self._keeper.draft()
        requests = [make(row) for make in makes]
        ids = tuple(request.id for request in requests)
        until = max(request.expires_at for request in requests)
        self.row = row.asking((*self._open, *ids), going_on, until)
        try:
            await people.queue.ask(self.row, requests, was)
        except Exception:
            self.row = was
            raise
        except BaseException:
            self._is_unsure = True
            self._drop(ids)
            raise
        self._open |= {request.id: request for request in requests}
        return requests

    async def _settled(self, ids: Sequence[RequestId]) -> list[HitlRequest]:
        try:
            return await self.people.queue.wait(ids)
        except BaseException:
            self._drop(ids)
            raise
        finally:
            for one in ids:
                self._open.pop(one, None)

    async def _go_on(self, begin: Sequence[RequestId] = ()) -> None:
        """Take the call, so that nobody else goes on with it. Raises ConflictError."""
        async with self._lock:
            row = await self._stored()
            is_waiting = self._open and not begin  # for others of its questions
            if row is None or is_waiting or row.status is HeldStatus.RUNNING:
                return
            if self.is_alone or begin:
                await self._keeper.check()
            await self._keep(row.running(self.people.queue.lease), row, begin)

    async def _keep(self, moved: HeldCall, row: HeldCall, begin: Sequence[RequestId] = ()) -> None:
        try:
            await self.people.queue.keep(moved, row, begin)
        except ConflictError:
            raise  # nothing was stored
        except BaseException:
            self._is_unsure = True
            raise
        self.row = moved

    async def _stored(self) -> HeldCall | None:
        """Give the call's row; from the database, where a write of it was cut off."""
        if self._is_unsure and self.row is not None:
            self.row = await self.people.queue.held(self.row.id)
        self._is_unsure = False
        return self.row

    def _drop(self, ids: Sequence[RequestId]) -> None:
        """Nobody waits for these any more. When the hub stops, they wait for its return."""
        for one in ids:
            self._open.pop(one, None)
        if not self.people.is_stopping:
            self._keeper.later(self.fail(ids, self.why_dropped))


def require_same(target: Target, *asked: HitlRequest) -> None:
    """Raise NotFoundError unless a call leads where it led when people were asked about it."""
    for origin in (request.origin for request in asked):
        if origin.endpoint_id != target.endpoint_id or origin.key not in ("", target.key):
            text = "What this call was made to is another server's, or another, now. Call again."
            raise NotFoundError(text, code="target_changed")


def require_no_denial(policy: ApprovalPolicy) -> None:
    """Raise DeclinedError where a policy forbids a call without asking anybody."""
    if policy.action is PolicyAction.DENY:
        text = f"The policy {policy.name!r} of the hub does not allow this call."
        raise DeclinedError(text, code="call_denied")


def _origin(row: HeldCall, target: Target) -> Origin:
    return Origin(
        server=target.server,
        endpoint_id=target.endpoint_id,
        subject=row.subject,
        group=row.view_group,
        agent=row.agent,
        conversation=row.conversation,
        deed=row.deed,
        key=target.key,
    )
