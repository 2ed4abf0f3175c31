"""Sessions of legacy agents: who opened them, what they declared, what is under way in them."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from agenthub.adapters.inbound.mcp.envelope import INVALID_REQUEST
from agenthub.adapters.inbound.mcp.listening import Listener
from agenthub.adapters.inbound.mcp.streams import EventStream
from agenthub.adapters.inbound.mcp.versions import ASSUMED
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import (
    HubError,
    NotFoundError,
    QuotaError,
    RpcError,
    UnanswerableError,
)
from agenthub.domain.ports.outbound.clock import Chance, Clock

MAX_SESSIONS = 10_000
IDLE_EXPIRY_S = 1800.0
MAX_RUNNING = 1_000
MAX_MISSED = 1_000
MAX_MISSED_BYTES = 1024 * 1024
ID_SIZE_BYTES = 24

Withdraw = Callable[[HubError | None], object]
"""Ends a running request. It is answered with the reason given, and not at all without one."""
Owner = tuple[str, str]
"""A principal as sessions are counted: its workspace and subject."""


class LegacySession:
    """What the hub remembers of one legacy agent between its requests.

    `path` is the MCP path it was opened at; the id is no credential and counts only there and
    for the principal that opened it.
    """

    def __init__(
        self,
        *,
        session_id: str,
        principal: Principal,
        path: str,
        clock: Clock,
        on_use: "Callable[[LegacySession], None]" = lambda session: None,
    ) -> None:
        self._clock = clock
        self._on_use = on_use
        self.id = session_id
        self.principal = principal
        self.path = path
        self.version = ASSUMED
        self.agent = ""
        self.capabilities: dict[str, Any] = {}
        self.log_level: str | None = None
        self.used_at_s = clock.monotonic()
        self.stream: EventStream | None = None
        self.listener: Listener | None = None
        self.is_closed = False
        self._running: dict[bytes, Withdraw] = {}
        self._questions: dict[bytes, asyncio.Future[bytes]] = {}
        self._last_question = 0
        self._missed: dict[bytes, None] = {}
        self._missed_bytes = 0

    @property
    def owner(self) -> Owner:
        return self.principal.workspace, self.principal.subject

    @property
    def is_busy(self) -> bool:
        return bool(self._running) or self.stream is not None

    def is_of(self, principal: Principal, path: str) -> bool:
        mine = self.principal
        return (
            path == self.path
            and principal.subject == mine.subject
            and principal.workspace == mine.workspace
        )

    def begin(self, request_id: bytes, withdraw: Withdraw) -> None:
        """Note a running request.

        Raises RpcError when its id is in use here, QuotaError, and NotFoundError once the
        session has ended.
        """
        if self.is_closed:
            raise unknown_session()
        if len(self._running) >= MAX_RUNNING:
            raise QuotaError(
                f"More than {MAX_RUNNING} requests of this session are running; wait for some.",
                code="too_many_requests",
                retry_after_s=1.0,
            )
        if request_id in self._running:
            raise RpcError(INVALID_REQUEST, "A request with this id is still running.")
        self._running[request_id] = withdraw

    def finish(self, request_id: bytes) -> None:
        """Note that a request runs no more; its answer may still follow, then `answered`."""
        self._running.pop(request_id, None)
        self._use()

    def answered(self) -> None:
        """Note that an answer was sent. The last one of an ended session ends its stream."""
        if self.is_closed and not self._running and self.stream is not None:
            self.stream.end()

    def withdraw(self, request_id: bytes) -> None:
        """Cancel a running request on its agent's word; unknown ids are ignored (MCP)."""
        withdraw = self._running.get(request_id)
        if withdraw is not None:
            withdraw(None)

    def expect(self) -> tuple[bytes, asyncio.Future[bytes]]:
        """Give the id for a new question to the agent, and the future of its result."""
        self._last_question += 1
        question_id = b"%d" % self._last_question
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._questions[question_id] = future
        if self.is_closed:
            future.set_exception(_closed())
        return question_id, future

    def forget(self, question_id: bytes) -> None:
        self._questions.pop(question_id, None)

    def settle(self, question_id: bytes, outcome: bytes | RpcError) -> None:
        """Take an agent's response to a question; late and unknown ones are ignored."""
        future = self._questions.get(question_id)
        if future is None or future.done():
            return
        if isinstance(outcome, RpcError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def attach(self, stream: EventStream) -> None:
        """Make `stream` the one for what belongs to no request; an older one ends."""
        former, self.stream = self.stream, stream
        if former is not None:
            former.end()
        for message in self._missed:
            stream.put(message, can_be_lost=True)
        self._missed.clear()
        self._missed_bytes = 0

    def detach(self, stream: EventStream) -> None:
        if self.stream is stream:
            self.stream = None
            self._use()

    def tell(self, message: bytes) -> None:
        """Send a notification of no request; without a stream the next one gets it, once."""
        if self.stream is not None:
            self.stream.put(message, can_be_lost=True)
        elif len(self._missed) < MAX_MISSED and self._missed_bytes < MAX_MISSED_BYTES:
            self._missed_bytes += 0 if message in self._missed else len(message)
            self._missed[message] = None

    def close(self, reason: HubError | None = None) -> None:
        """Withdraw everything that runs, for this reason, and fail what is asked.

        The stream ends as soon as it has taken the answers that belong on it.
        """
        self.is_closed = True
        for withdraw in list(self._running.values()):
            withdraw(reason)
        for future in self._questions.values():
            if not future.done():
                future.set_exception(_closed())
        if reason is None and self.stream is not None:
            self.stream.end()
        self.answered()

    def _use(self) -> None:
        self.used_at_s = self._clock.monotonic()
        self._on_use(self)


class SessionTable:
    """All legacy sessions, least recently used first."""

    def __init__(
        self,
        *,
        clock: Clock,
        chance: Chance,
        on_close: Callable[[LegacySession], None],
        max_sessions: int = MAX_SESSIONS,
        idle_expiry_s: float = IDLE_EXPIRY_S,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._on_close = on_close
        self._max_sessions = max_sessions
        self._max_own = max(1, max_sessions - max_sessions // 5)
        self._idle_expiry_s = idle_expiry_s
        self._sessions: OrderedDict[str, LegacySession] = OrderedDict()
        self._counts: Counter[Owner] = Counter()

    def __iter__(self) -> Iterator[LegacySession]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, principal: Principal, path: str) -> LegacySession:
        """Open a session, closing an idle one for it when full. Raises QuotaError.

        Nobody may hold more than four fifths of all, and nobody loses a session to one who
        holds more than they.
        """
        self.sweep()
        session = LegacySession(
            session_id=self._chance.token(ID_SIZE_BYTES),
            principal=principal,
            path=path,
            clock=self._clock,
            on_use=self._move_to_end,
        )
        if self._counts[session.owner] >= self._max_own:
            self._close_one_idle(session.owner)
        elif len(self._sessions) >= self._max_sessions:
            self._close_one_idle(self._largest(session.owner), session.owner)
        self._sessions[session.id] = session
        self._counts[session.owner] += 1
        return session

    def find(self, session_id: str, principal: Principal, path: str) -> LegacySession:
        """Give an open session to the one it belongs to. Raises NotFoundError."""
        session = self._sessions.get(session_id)
        now_s = self._clock.monotonic()
        if session is None or not session.is_of(principal, path):
            raise unknown_session()
        if not session.is_busy and session.used_at_s + self._idle_expiry_s <= now_s:
            self.close(session)
            raise unknown_session()
        session.used_at_s = now_s
        self._sessions.move_to_end(session_id)
        return session

    def close(self, session: LegacySession, reason: HubError | None = None) -> None:
        """End a session. What runs in it is answered with `reason`, and not at all without one."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._counts[session.owner] -= 1
        if not self._counts[session.owner]:
            del self._counts[session.owner]
        session.close(reason)
        self._on_close(session)

    def close_all(self, reason: HubError) -> None:
        for session in self:
            self.close(session, reason)

    def sweep(self) -> None:
        """Close what has been idle for too long."""
        limit_s = self._clock.monotonic() - self._idle_expiry_s
        over: list[LegacySession] = []
        for session in self._sessions.values():
            if session.used_at_s > limit_s:
                break
            if not session.is_busy:
                over.append(session)
        for session in over:
            self.close(session)

    def _move_to_end(self, session: LegacySession) -> None:
        if not session.is_closed:
            self._sessions.move_to_end(session.id)

    def _largest(self, owner: Owner) -> Owner:
        """Give who holds the most sessions; `owner` where it holds as many."""
        largest = max(self._counts, key=self._counts.__getitem__)
        return largest if self._counts[largest] > self._counts[owner] else owner

    def _close_one_idle(self, *owners: Owner) -> None:
        """Close the least recently used idle session of the first of `owners` that has one."""
        for owner in owners:
            for session in self._sessions.values():
                if session.owner == owner and not session.is_busy:
                    self.close(session)
                    return
        raise QuotaError(
            "Too many MCP sessions are busy; end some, or try again later.",
            code="too_many_sessions",
            retry_after_s=5.0,
        )


def unknown_session() -> NotFoundError:
    return NotFoundError(
        "There is no such session (any more); send initialize again.", code="session_not_found"
    )


def _closed() -> UnanswerableError:
    return UnanswerableError("The agent's session has ended before it answered.")
