"""The agent with people beside it, as a server sees them: one caller."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.resilience.policy import Answering
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Caller, InputRequired, Question, RawObject
from agenthub.domain.services.hitl.callers import answered_by, joined
from agenthub.domain.services.hitl.threads import CallThread


class AskingCaller(Caller):
    """An agent with people beside it, in front of one server: whoever may and can, answers."""

    def __init__(self, thread: CallThread, caller: Caller, target: Target, who: Answering) -> None:
        self.era = caller.era
        self.client = caller.client
        self.wants_progress = caller.wants_progress
        self.log_level = caller.log_level
        self.agent = caller.agent
        self.conversation = caller.conversation
        self.own = caller.capabilities
        """What the agent itself declared."""
        self.capabilities = self._capabilities(thread, who)
        self._target = target
        self._thread = thread
        self._who = who

    @classmethod
    def beside(cls, thread: CallThread, caller: Caller, target: Target, tool: str | None) -> Self:
        """Put people beside the caller, as the policy of the server or tool has it."""
        return cls(thread, caller, target, thread.people.answering(target.endpoint_id, tool))

    def _capabilities(self, thread: CallThread, who: Answering) -> Mapping[str, Any]:
        if who is Answering.AGENT:
            return self.own
        asked = ("elicitation", "sampling")
        own = self.own if who is Answering.AGENT_FIRST else _without(self.own, asked)
        return joined(own, thread.people.capabilities())

    def can_answer(self, question: Question) -> bool:
        """Say whether the agent itself may answer, and can."""
        return self._who is not Answering.PERSON and self._thread.caller.can_answer(question)

    async def progress(self, params: RawObject) -> None:
        await self._thread.listener.progress(params)

    async def log(self, params: RawObject) -> None:
        await self._thread.listener.log(params)

    async def ask(self, question: Question) -> bytes:
        if not question.is_attributed and self._who is Answering.AGENT:
            raise UnanswerableError(
                f"Calls of several agents run at the server {question.server!r}, and nobody can"
                f" say which of them its {question.method} belongs to."
            )
        if question.is_attributed and self._is_agents([question]):
            try:
                return await self._thread.caller.ask(question)
            except UnanswerableError:
                if not self._may_turn_to_people([question]):
                    raise
        return await self._thread.question(question, self._target)

    async def answer(self, needed: InputRequired) -> RawObject:
        """Have one round of a modern server answered; give the retry's extra params."""
        questions = list(needed.requests.values())
        if not questions or self._is_agents(questions):
            try:
                return await answered_by(self._thread.caller, needed)
            except UnanswerableError:
                if not self._may_turn_to_people(questions):
                    raise
        return await self._thread.round(needed, self._target)

    def relays(self, needed: InputRequired) -> bool:
        """Say whether the agent gets these questions itself, and comes back with its answers."""
        if self.era is Era.LEGACY or self._thread.is_held:
            return False
        questions = list(needed.requests.values())
        return not questions or self._is_agents(questions)

    def takes_links(self, needed: InputRequired) -> bool:
        """Say whether a legacy server's error that names links is to go to the agent as it is."""
        if self.era is Era.MODERN:
            return self._who is Answering.AGENT and not self._can_all(needed.requests.values())
        elicits = self.own.get("elicitation")
        is_able = isinstance(elicits, dict) and "url" in elicits and not self._thread.is_alone
        return self._who is Answering.AGENT or (is_able and self._who is not Answering.PERSON)

    def _is_agents(self, questions: Sequence[Question]) -> bool:
        """Say whether these go to the agent first."""
        if self._who is not Answering.AGENT_FIRST:
            return self._who is Answering.AGENT
        return self._can_all(questions) or not self._thread.people.can_answer(questions)

    def _can_all(self, questions: Iterable[Question]) -> bool:
        return all(self._thread.caller.can_answer(one) for one in questions)

    def _may_turn_to_people(self, questions: Sequence[Question]) -> bool:
        is_able = self._thread.people.can_answer(questions)
        return self._who is Answering.AGENT_FIRST and is_able


def _without(capabilities: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in capabilities.items() if name not in names}
