"""Fakes for the channels: a caller that remembers, an inbox, a clock-free way to wait."""

import asyncio
import json
from collections.abc import Coroutine, Generator, Mapping
from datetime import UTC, datetime
from typing import Any

from agenthub.adapters.outbound.mcp_client.channel import Inbox
from agenthub.domain.entities.endpoints import Endpoint, Era, HttpKind, HttpTransport
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ids import EndpointId, WorkspaceId
from agenthub.domain.ports.outbound.mcp_client import Caller, Question, RawObject

WAIT_S = 5.0


class FakeCaller(Caller):
    """Answers questions with `reply`, or holds them while `held` is cleared.

    Where `has_person`, that one answers what nobody can say whose it is, and all that the agent
    cannot unless it `is_able`.
    """

    def __init__(
        self,
        client: str = "agent",
        *,
        era: Era = Era.LEGACY,
        reply: bytes | Exception = b'{"action":"accept"}',
        wants_progress: bool = True,
        log_level: str | None = "info",
        capabilities: Mapping[str, Any] | None = None,
        has_person: bool = False,
        is_able: bool = False,
    ) -> None:
        self.era = era
        self.is_able = is_able
        self.has_person = has_person
        self.client = client
        self.capabilities = capabilities or {}
        self.wants_progress = wants_progress
        self.log_level = log_level
        self.reply = reply
        self.told: list[RawObject] = []
        self.logged: list[RawObject] = []
        self.asked: list[Question] = []
        self.withdrawn: list[Question] = []
        self.asking = asyncio.Event()
        self.withdrawing = asyncio.Event()
        self.held = asyncio.Event()
        self.held.set()

    def can_answer(self, question: Question) -> bool:
        return self.is_able and question.is_attributed

    def has_people(self, question: Question) -> bool:
        return self.has_person

    async def progress(self, params: RawObject) -> None:
        self.told.append(params)

    async def log(self, params: RawObject) -> None:
        self.logged.append(params)

    async def ask(self, question: Question) -> bytes:
        if not question.is_attributed and not self.has_person:
            raise UnanswerableError("Nobody here can say whose question it is.")
        self.asked.append(question)
        self.asking.set()
        try:
            await self.held.wait()
        except asyncio.CancelledError:
            self.withdrawn.append(question)
            self.withdrawing.set()
            raise
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


class FakeInbox(Inbox):
    def __init__(self) -> None:
        self.heard: list[tuple[str, RawObject]] = []
        self.news = asyncio.Event()

    def notification(self, method: str, params: RawObject) -> None:
        self.heard.append((method, params))
        self.news.set()


class Wire:
    """The server's end of a dispatcher: what was sent, as parsed messages."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.fault: Exception | None = None

    async def send(self, message: bytes) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.put_nowait(json.loads(message))

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.sent.get(), WAIT_S)


def dumps(**members: Any) -> bytes:
    """Make a JSON-RPC message."""
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


class Running:
    """A request under way in a test's task group; its error is the awaiter's, not the group's."""

    def __init__(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, bytes]) -> None:
        self.task = group.create_task(_settle(work))

    def __await__(self) -> Generator[Any, None, bytes]:
        outcome = yield from self.task.__await__()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def _settle(work: Coroutine[Any, Any, bytes]) -> bytes | Exception:
    try:
        return await work
    except Exception as error:  # noqa: BLE001 (the test raises it again)
        return error


def endpoint_at(url: str, *, kind: HttpKind = HttpKind.STREAMABLE, **headers: str) -> Endpoint:
    """Make an endpoint named `srv`."""
    then = datetime(2026, 11, 21, tzinfo=UTC)
    return Endpoint(
        id=EndpointId("e1"),
        workspace=WorkspaceId("w1"),
        name="srv",
        transport=HttpTransport(url=url, kind=kind, headers=headers),
        created_at=then,
        updated_at=then,
    )
