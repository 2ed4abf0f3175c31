"""The agent with people beside it, as a server sees them: one caller."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.resilience.policy import Answering
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Caller, InputRequired, Question, RawObject
from agenthub.domain.services.hitl.callers import answers_of, joined, retry_with
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

    def has_people(self, question: Question) -> bool:
        return self._who is not Answering.AGENT and self._thread.people.can_answer([question])

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
        given: Mapping[str, bytes] = {}
        agents, others = self._parted(needed.requests)
        if agents or not others:
            try:
                given = await answers_of(self._thread.caller, agents)
            except UnanswerableError:
                if not self._may_turn_to_people(list(needed.requests.values())):
                    raise
                others = needed.requests
        if not others:
            return retry_with(given, needed.state)
        return await self._thread.round(InputRequired(others, needed.state), self._target, given)

    def relays(self, needed: InputRequired) -> bool:
        """Say whether the agent gets these questions itself, and comes back with its answers."""
        if self.era is Era.LEGACY or self._thread.is_held:
            return False
        agents, others = self._parted(needed.requests)
        return (bool(agents) and not others) or not needed.requests

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

    def _parted(
        self, questions: dict[str, Question]
    ) -> tuple[dict[str, Question], dict[str, Question]]:
        """Part a round: what the agent is asked, and what people are.

        One side answers all of it where it can. Where neither can, the agent answers what it
        declared: a server was told what both can together.
        """
        if not self._is_agents(list(questions.values())):
            return {}, questions
        if self._who is not Answering.AGENT_FIRST or self._can_all(questions.values()):
            return questions, {}
        caller = self._thread.caller
        others = {key: one for key, one in questions.items() if not caller.can_answer(one)}
        if not self._thread.people.can_answer(list(others.values())):
            return questions, {}
        return {key: one for key, one in questions.items() if key not in others}, others

    def _can_all(self, questions: Iterable[Question]) -> bool:
        return all(self._thread.caller.can_answer(one) for one in questions)

    def _may_turn_to_people(self, questions: Sequence[Question]) -> bool:
        is_able = self._thread.people.can_answer(questions)
        return self._who is Answering.AGENT_FIRST and is_able


def _without(capabilities: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in capabilities.items() if name not in names}
