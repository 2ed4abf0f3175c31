"""Agents beside people: one that has gone, what both can answer together, one round answered."""

import json
from collections.abc import Mapping
from typing import Any, cast

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import (
    Caller,
    InputRequired,
    Question,
    RawObject,
)


class AbsentCaller(Caller):
    """Stands where an agent stood that comes back later: it hears nothing and says nothing."""

    def __init__(self, *, era: Era, client: str, agent: str = "", conversation: str = "") -> None:
        self.era = era
        self.capabilities: Mapping[str, Any] = {}
        self.client = client
        self.wants_progress = False
        self.log_level = None
        self.agent = agent
        self.conversation = conversation

    async def progress(self, params: RawObject) -> None:
        """Nobody listens."""

    async def log(self, params: RawObject) -> None:
        """Nobody listens."""

    async def ask(self, question: Question) -> bytes:
        raise UnanswerableError(
            f"The server {question.server!r} asks something that no person at the hub can answer,"
            " and the agent is not there now."
        )


def joined(own: Mapping[str, Any], of_people: Mapping[str, Any]) -> dict[str, Any]:
    """Give the client capabilities of an agent and the people beside it.

    An empty `elicitation` means forms: before 2025-11-25 there was nothing else.
    """
    both: dict[str, Any] = dict(own)
    for name, parts in of_people.items():
        declared: Any = own.get(name)
        mine = cast(dict[str, Any], declared) if isinstance(declared, dict) else {}
        both[name] = {**parts, **mine}
    return both


async def answered_by(caller: Caller, needed: InputRequired) -> RawObject:
    """Have the caller answer one round; give the retry's extra params."""
    return retry_with(await answers_of(caller, needed.requests), needed.state)


async def answers_of(caller: Caller, questions: Mapping[str, Question]) -> dict[str, bytes]:
    """Ask the caller every question of one round, in order; give the answers."""
    return {key: await caller.ask(question) for key, question in questions.items()}


def retry_with(answers: Mapping[str, bytes], state: str | None) -> RawObject:
    """Make what a repeated request brings along: answers by key, and the server's own state."""
    extra: RawObject = {}
    if answers:
        parts = [json.dumps(key).encode() + b":" + answer for key, answer in answers.items()]
        extra["inputResponses"] = b"{" + b",".join(parts) + b"}"
    if state is not None:
        extra["requestState"] = json.dumps(state).encode()
    return extra
