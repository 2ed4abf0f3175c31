"""Agents as the hub's core sees them while one of their requests runs."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agenthub.adapters.inbound.mcp.asking import is_answerable, require_answerable, unreachable
from agenthub.adapters.inbound.mcp.frames import notification, request
from agenthub.adapters.inbound.mcp.mapping import map_notification, map_question, with_link_id
from agenthub.adapters.inbound.mcp.sessions import LegacySession
from agenthub.adapters.inbound.mcp.shapes import is_object
from agenthub.adapters.inbound.mcp.streams import Outlet
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Caller, Question, RawObject

LEVELS = (
    *("debug", "info", "notice", "warning"),
    *("error", "critical", "alert", "emergency"),
)
"""Log levels, least severe first (RFC 5424)."""

_SEVERITY = {f'"{level}"'.encode(): rank for rank, level in enumerate(LEVELS)}
DEFAULT_LEGACY_LEVEL = "info"
"""What a legacy agent gets before it says `logging/setLevel`; MCP leaves that to the server."""
MAX_AGENT_LENGTH = 100


def name_of(client_info: Any) -> str:
    """Read what an agent calls itself in its `clientInfo`; empty where it does not say."""
    name: Any = client_info.get("name") if is_object(client_info) else None
    return name[:MAX_AGENT_LENGTH] if isinstance(name, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What an agent says of itself in a request or its session; members as in `Caller`."""

    client: str
    capabilities: Mapping[str, Any]
    log_level: str | None
    agent: str
    conversation: str = ""


@dataclass(frozen=True, slots=True)
class Accent:
    """How messages of a server must sound to this agent: names at its path, and its revision."""

    server: str
    namespaced: bool
    version: str

    def question(self, question: Question) -> Question:
        return map_question(question, namespaced=self.namespaced, version=self.version)

    def notification(self, method: str, params: RawObject) -> RawObject:
        return map_notification(
            method,
            params,
            server=self.server,
            namespaced=self.namespaced,
            version=self.version,
        )


class AgentCaller(Caller):
    """What agents of both eras have in common: progress and logs go to the request's outlet."""

    def __init__(
        self,
        outlet: Outlet,
        accent: Accent,
        facts: AgentFacts,
        progress_token: bytes | None,
    ) -> None:
        self._outlet = outlet
        self._accent = accent
        self.progress_token = progress_token
        self.capabilities = facts.capabilities
        self.client = facts.client
        self.wants_progress = progress_token is not None
        self.log_level = facts.log_level
        self.agent = facts.agent
        self.conversation = facts.conversation

    def can_answer(self, question: Question) -> bool:
        return is_answerable(self.capabilities, question)

    async def progress(self, params: RawObject) -> None:
        if self.progress_token is not None:
            self._tell("notifications/progress", {"progressToken": self.progress_token, **params})

    async def log(self, params: RawObject) -> None:
        if self.log_level is None:
            return
        severity = _SEVERITY.get(params.get("level", b""), 0)
        if severity >= LEVELS.index(self.log_level):
            self._tell("notifications/message", params)

    def _tell(self, method: str, params: RawObject) -> None:
        params = self._accent.notification(method, params)
        self._outlet.push(notification(method, params), can_be_lost=True)


class LegacyCaller(AgentCaller):
    """An agent with a session: questions go to it as requests while its own one runs."""

    era = Era.LEGACY

    def __init__(
        self,
        session: LegacySession,
        outlet: Outlet,
        accent: Accent,
        *,
        progress_token: bytes | None,
        answer_within_s: float,
    ) -> None:
        facts = AgentFacts(
            client=session.id,
            capabilities=session.capabilities,
            log_level=session.log_level or DEFAULT_LEGACY_LEVEL,
            agent=session.agent,
            conversation=session.id,
        )
        super().__init__(outlet, accent, facts, progress_token)
        self._session = session
        self._answer_within_s = answer_within_s

    def can_answer(self, question: Question) -> bool:
        is_there = self._outlet.is_open and not self._session.is_closed
        return is_there and super().can_answer(question)

    def on_gone(self, listener: Callable[[], None]) -> None:
        self._outlet.on_gone(listener)

    async def ask(self, question: Question) -> bytes:
        """Raises UnanswerableError too when no answer comes in time."""
        require_answerable(self.capabilities, question)
        question = self._accent.question(question)
        question_id, future = self._session.expect()

        def hang_up() -> None:
            if not future.done():
                future.set_exception(unreachable(question))

        try:
            params = with_link_id(question.params, f"hub-{question_id.decode()}")
            message = request(question_id, question.method, params)
            if not self._outlet.push(message):
                raise unreachable(question)
            self._outlet.on_gone(hang_up)
            async with asyncio.timeout(self._answer_within_s):
                return await future
        except TimeoutError as error:
            raise UnanswerableError(
                f"The agent did not answer the server {question.server!r} within "
                f"{self._answer_within_s:g} s."
            ) from error
        finally:
            if not future.done() or future.cancelled():
                self._withdraw(question_id)
            self._session.forget(question_id)

    def _withdraw(self, question_id: bytes) -> None:
        self._outlet.push(notification("notifications/cancelled", {"requestId": question_id}))


class ModernCaller(AgentCaller):
    """An agent without a session, whose call runs within its request.

    It answers what comes as the call's result, for then it calls again. In the middle of a call
    it cannot be asked: where such questions are to be expected the call is parked (see parking).
    """

    era = Era.MODERN

    def can_answer(self, question: Question) -> bool:
        # Roots pass only here, where they are the agent's own declared business with a
        # server that keeps nothing; the hub itself never asks for them.
        if question.method == "roots/list":
            return "roots" in self.capabilities
        return super().can_answer(question)

    async def ask(self, question: Question) -> bytes:
        require_answerable(self.capabilities, question)
        raise UnanswerableError(
            f"The server {question.server!r} asks in the middle of a request that cannot be "
            "answered with a question (or came over another era than announced); call again."
        )


class RoundlessCaller(ModernCaller):
    """An agent that speaks the modern era but fails on rounds of questions (see visits).

    It is served as one of the legacy era that declared nothing: whatever is asked is answered
    while its one request runs, by others.
    """

    era = Era.LEGACY
