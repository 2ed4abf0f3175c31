"""Agents as the hub's core sees them: who they say they are, and what they can be asked now."""

from collections.abc import Callable

import pytest

from agenthub.adapters.inbound.mcp.callers import (
    MAX_AGENT_LENGTH,
    Accent,
    AgentFacts,
    LegacyCaller,
    ModernCaller,
    name_of,
)
from agenthub.adapters.inbound.mcp.parking import NOWHERE, ParkedCaller
from agenthub.adapters.inbound.mcp.sessions import LegacySession
from agenthub.adapters.inbound.mcp.streams import Outlet
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.ports.outbound.mcp_client import Question
from tests.unit.adapters.inbound.mcp.ports import SteppedClock
from tests.unit.adapters.inbound.mcp.world import FORM

ACCENT = Accent("time", namespaced=True, version="2025-11-25")
ASKED = Question("time", "elicitation/create", FORM)
SAMPLED = Question("time", "sampling/createMessage", b'{"messages":[]}')
ROOTS = Question("time", "roots/list", b"{}")


class _Outlet(Outlet):
    """Takes everything while it is open."""

    def __init__(self) -> None:
        self.is_there = True
        self.listeners = list[Callable[[], None]]()

    @property
    def is_open(self) -> bool:
        return self.is_there

    def push(self, message: bytes, *, can_be_lost: bool = False) -> bool:
        return self.is_there

    async def answer(self, body: bytes, status: int = 200) -> None:
        self.is_there = False

    async def drop(self) -> None:
        self.is_there = False

    def on_gone(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)


def legacy(outlet: Outlet) -> tuple[LegacySession, LegacyCaller]:
    session = LegacySession(session_id="s", principal=OWNER, path="/mcp", clock=SteppedClock())
    session.capabilities = {"elicitation": {}}
    session.agent = "claude"
    caller = LegacyCaller(session, outlet, ACCENT, progress_token=None, answer_within_s=1)
    return session, caller


def facts(**capabilities: object) -> AgentFacts:
    return AgentFacts(client="request-1", capabilities=capabilities, log_level=None, agent="claude")


def test_an_agent_of_a_session_is_known_by_its_name_and_its_conversation_by_the_session() -> None:
    _, caller = legacy(_Outlet())

    assert (caller.agent, caller.conversation, caller.client) == ("claude", "s", "s")


def test_an_agent_of_a_session_can_answer_what_it_declared_while_it_can_be_reached() -> None:
    outlet = _Outlet()
    session, caller = legacy(outlet)

    assert caller.can_answer(ASKED)
    assert not caller.can_answer(SAMPLED)
    outlet.is_there = False
    assert not caller.can_answer(ASKED)
    outlet.is_there = True
    session.close()
    assert not caller.can_answer(ASKED)


def test_only_an_agent_of_a_session_hangs_up_without_withdrawing() -> None:
    outlet, left = _Outlet(), list[str]()
    _, caller = legacy(outlet)
    caller.on_gone(lambda: left.append("legacy"))
    ModernCaller(outlet, ACCENT, facts(), None).on_gone(lambda: left.append("modern"))

    for listener in outlet.listeners:
        listener()

    assert left == ["legacy"]


def test_a_modern_agent_has_a_name_and_no_conversation() -> None:
    caller = ModernCaller(NOWHERE, ACCENT, facts(), None)

    assert (caller.agent, caller.conversation) == ("claude", "")


def test_a_modern_agent_can_answer_in_its_next_request() -> None:
    caller = ModernCaller(NOWHERE, ACCENT, facts(elicitation={}, roots={}), None)
    parked = ParkedCaller(NOWHERE, ACCENT, facts(elicitation={}, roots={}), None)

    assert caller.can_answer(ASKED)
    assert caller.can_answer(ROOTS)
    assert not caller.can_answer(SAMPLED)
    assert parked.can_answer(ASKED)
    assert not parked.can_answer(ROOTS)


@pytest.mark.parametrize(
    ("client_info", "name"),
    [
        ({"name": "claude", "version": "1"}, "claude"),
        ({"name": "x" * 1_000}, "x" * MAX_AGENT_LENGTH),
        ({"name": 1}, ""),
        ({}, ""),
        (None, ""),
        ("claude", ""),
    ],
)
def test_the_name_of_an_agent_is_its_own_word_and_short(client_info: object, name: str) -> None:
    assert name_of(client_info) == name
