"""What a legacy server asks of the hub, brought to the one caller it can only be meant for.

Where it may be meant for several clients nobody guesses: it is asked as nobody's, which a person
can answer and no agent is asked, and refused where no person can.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from agenthub.adapters.outbound.mcp_client.messages import Request, error_bytes, result_bytes
from agenthub.adapters.outbound.mcp_client.turns import InTurn, Turn
from agenthub.domain.exceptions import HubError, RpcError, UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Caller, Question

_log = logging.getLogger(__name__)

Send = Callable[[bytes], Awaitable[None]]
"""Hands one message to the server. Raises UnavailableError when the connection is gone."""

CARRIED = frozenset({"elicitation/create", "sampling/createMessage"})
"""What may be asked. `roots/list` is not: a server would replace its own folders by the agent's."""

AGENT_TURN_S = 5.0
"""How long an agent may think before others have their turn, where people could answer as well."""

MAX_OPEN = 64
"""Open questions per connection; a server that asks more is refused."""

MAX_REPLIES = 64
"""Replies under way beside the open questions; what a server that floods asks more is dropped."""

MAX_TASKS = 2 * (MAX_OPEN + MAX_REPLIES)
"""Everything under way, what the hub itself has to say included."""


class Asker:
    """One running request, as the one a question may belong to: its caller, clock and turn."""

    __slots__ = ("_left_s", "_limit", "_open", "_turn", "caller")

    def __init__(self, caller: Caller, limit: asyncio.Timeout) -> None:
        self.caller = caller
        self._limit = limit
        self._turn: Turn | None = caller.turn if isinstance(caller, InTurn) else None
        self._left_s: float | None = None
        self._open = 0

    def pause(self) -> None:
        """Stop the clock: from now on the server waits for somebody, not the other way round."""
        self._open += 1
        when = self._limit.when()
        if self._open == 1 and when is not None and not self._limit.expired():
            self._left_s = when - asyncio.get_running_loop().time()
            self._limit.reschedule(None)

    def lend_turn(self) -> None:
        """Let others have their turn until the clock runs on."""
        if self._turn is not None:
            self._turn.lend()

    def resume(self) -> None:
        """Let the clock run on, when no other question holds it."""
        self._open -= 1
        if self._open == 0 and self._turn is not None:
            self._turn.take_back()
        if self._open == 0 and self._left_s is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._left_s)
            self._left_s = None


@dataclass(frozen=True, slots=True)
class _Audience:
    """The newest caller of each client that a question may be meant for, the last one first.

    `clients` counts those too that gave their requests up.
    """

    callers: tuple[Caller, ...]
    clients: int

    def lends_after_s(self, question: Question) -> float | None:
        """Say when others may have their turn, though this is not answered; None: never."""
        if not any(caller.has_people(question) for caller in self.callers):
            return None
        return AGENT_TURN_S if self.callers[0].can_answer(question) else 0.0


@dataclass(slots=True, eq=False)
class _Open:
    task: asyncio.Task[None]
    askers: list[Asker] = field(default_factory=list[Asker])

    @contextmanager
    def lending_turns(self, after_s: float | None) -> Generator[None]:
        """For each request that the server may be waiting for now, let others have their turn."""
        if after_s is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(after_s, self._lend_turns)
        try:
            yield
        finally:
            timer.cancel()

    def _lend_turns(self) -> None:
        for asker in self.askers:
            asker.lend_turn()


class Questions:
    """The open questions of one connection. A resident: the asking tasks are its own.

    `unattributed` counts the questions that came while several clients' requests were running:
    serving one at a time would help. `dropped` counts the messages that found too many others
    still on their way.
    """

    def __init__(self, *, send: Send, server_name: str) -> None:
        self._send = send
        self._server_name = server_name
        self._group = asyncio.TaskGroup()
        self._open: dict[bytes, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False
        self.unattributed = 0
        self.dropped = 0

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        for task in tuple(self._tasks):
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def put(
        self, request: Request, askers: Sequence[Asker], ghosts: AbstractSet[str] = frozenset()
    ) -> None:
        """Answer a server's request, or ask behind `askers`, oldest first, and answer then.

        Several askers are one when their callers are the same client. Nobody else hears of it.
        `ghosts` are the clients of requests that were given up and may still be worked on. While
        a question is open the clocks of all whose question it may be stand still.
        """
        if not self._has_room(MAX_OPEN + MAX_REPLIES):
            return
        if request.method == "ping":
            self.say(result_bytes(request.id, b"{}"))
        elif (refusal := self._refusal(request, askers)) is not None:
            self.say(error_bytes(request.id, refusal))
        else:
            for asker in askers:
                asker.pause()
            task = self._start(self._ask(request, self._audience(askers, ghosts)))
            self._open[request.id] = _Open(task, list(askers))
            task.add_done_callback(lambda _: self._close(request.id))

    def say(self, message: bytes) -> None:
        """Send in the background; a connection that is gone or stuck is no news here."""
        if self._has_room(MAX_TASKS):
            self._start(self._send_quietly(message))

    def withdraw(self, request_id: bytes) -> None:
        """The server no longer wants an answer (`notifications/cancelled`)."""
        if (question := self._open.get(request_id)) is not None:
            question.task.cancel()

    def leave(self, asker: Asker) -> None:
        """A request has ended: questions that belong to no other running one are withdrawn."""
        for question in self._open.values() if self._open else ():
            if asker in question.askers:
                question.askers.remove(asker)
                if not question.askers:
                    question.task.cancel()

    def _has_room(self, most: int) -> bool:
        if self._is_over:
            return False
        if len(self._tasks) < most:
            return True
        self.dropped += 1
        return False

    def _refusal(self, request: Request, askers: Sequence[Asker]) -> RpcError | None:
        if request.method not in CARRIED:
            return RpcError(-32601, f"The hub does not support {request.method}.")
        if request.id in self._open:
            return RpcError(-32600, "A request with this id is still open.")
        if len(self._open) >= MAX_OPEN:
            return RpcError(-32603, f"More than {MAX_OPEN} questions are open on this connection.")
        if not askers:
            return RpcError(
                -32603, f"No running request is there to which {request.method} could belong."
            )
        return None

    def _audience(self, askers: Sequence[Asker], ghosts: AbstractSet[str]) -> _Audience:
        callers: dict[str, Caller] = {}
        for asker in reversed(askers):  # a server asks soon after it was asked
            callers.setdefault(asker.caller.client, asker.caller)
        if len(callers) > 1:
            self.unattributed += 1
        return _Audience(tuple(callers.values()), len(callers.keys() | ghosts))

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _close(self, request_id: bytes) -> None:
        """Let the clocks run on. Called twice, for a task may be cancelled before it begins."""
        if (question := self._open.pop(request_id, None)) is not None:
            for asker in question.askers:
                asker.resume()

    async def _ask(self, request: Request, audience: _Audience) -> None:
        question = Question(
            server=self._server_name,
            method=request.method,
            params=request.params,
            is_attributed=audience.clients == 1,
        )
        with self._open[request.id].lending_turns(audience.lends_after_s(question)):
            reply = await _reply(request.id, audience, question)
        self._close(request.id)
        await self._send_quietly(reply)

    async def _send_quietly(self, message: bytes) -> None:
        try:
            await self._send(message)
        except Exception as error:  # noqa: BLE001 (a server may refuse it as it likes, RpcError too)
            why = f"{type(error).__name__}: {error}"
            _log.debug("reply not delivered", extra={"server": self._server_name, "why": why})


async def _reply(request_id: bytes, audience: _Audience, question: Question) -> bytes:
    try:
        return result_bytes(request_id, await _answer(audience, question))
    except RpcError as error:
        return error_bytes(request_id, error)
    except UnanswerableError as error:
        return error_bytes(request_id, RpcError(-32601, error.message))
    except HubError as error:
        return error_bytes(request_id, RpcError(-32603, error.message))
    except Exception:  # noqa: BLE001 (a caller's bug ends its question, not the connection)
        _log.exception("asking a caller failed", extra={"server": question.server})
        return error_bytes(request_id, RpcError(-32603, "The hub failed to ask."))


async def _answer(audience: _Audience, question: Question) -> bytes:
    """Ask the one caller; where there are several, have the first ask that can reach a person."""
    if question.is_attributed:
        return await audience.callers[0].ask(question)
    for caller in audience.callers:
        with suppress(UnanswerableError):
            return await caller.ask(question)
    raise RpcError(
        -32603,
        f"Requests of {audience.clients} clients are running on this connection, and nothing says"
        f" to which of them {question.method} belongs. Ask while only one is running.",
    )
