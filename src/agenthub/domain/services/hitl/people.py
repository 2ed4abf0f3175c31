"""People beside the agents: whether they may be asked, and what becomes of their answers."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import HitlRequest, Origin, RequestStatus
from agenthub.domain.entities.resilience.policy import Answering
from agenthub.domain.exceptions import DeclinedError, GoneError, RpcError, UnanswerableError
from agenthub.domain.ids import EndpointId, HeldCallId, RequestId, WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.services.hitl.approvals import ApprovalDesk
from agenthub.domain.services.hitl.elicitation import ElicitationDesk
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.sampling import SamplingDesk
from agenthub.domain.services.policies import PolicyService

USER_REJECTED = -1
"""Source: MCP, client/sampling, error handling."""
ELICIT, SAMPLE = "elicitation/create", "sampling/createMessage"


class People:
    """The desks together, as the calls see them."""

    FORMS_AND_LINKS: ClassVar[Mapping[str, Any]] = {"form": {}, "url": {}}
    WITH_TOOLS: ClassVar[Mapping[str, Any]] = {"tools": {}}

    def __init__(
        self,
        *,
        approvals: ApprovalDesk,
        clock: Clock,
        elicitation: ElicitationDesk,
        enabled: bool,
        ids: IdFactory,
        policies: PolicyService,
        queue: HitlQueue,
        sampling: SamplingDesk,
    ) -> None:
        self.approvals = approvals
        self.clock = clock
        self.queue = queue
        self.sampling = sampling
        self.is_stopping = False
        """The hub stops: what waits now waits on in the database."""
        self._elicitation = elicitation
        self.is_enabled = enabled
        self._ids = ids
        self._policies = policies

    def new_call_id(self) -> HeldCallId:
        return HeldCallId(self._ids.new())

    def may_be_asked(self, endpoint_id: EndpointId, tool: str | None) -> bool:
        """Say whether a call may come to wait for a person."""
        if not self.is_enabled:
            return False
        is_agents = self.answering(endpoint_id, tool) is Answering.AGENT
        return not is_agents or (tool is not None and self.approvals.has_policies)

    def answering(self, endpoint_id: EndpointId, tool: str | None) -> Answering:
        return self._policies.of(endpoint_id, tool).questions

    def patience_s(self) -> float:
        """How long a call that is taken up again waits for its server."""
        return self._policies.of(None).timeout_s

    def capabilities(self) -> dict[str, Any]:
        """What people can answer, as an MCP client declares it."""
        declared: dict[str, Any] = {"elicitation": self.FORMS_AND_LINKS}
        if self.sampling.is_able:
            declared["sampling"] = self.WITH_TOOLS
        return declared

    def can_answer(self, questions: Sequence[Question]) -> bool:
        return all(
            one.method == ELICIT or (one.method == SAMPLE and self.sampling.is_able)
            for one in questions
        )

    def request_of(
        self, question: Question, key: str, origin: Origin, call: HeldCall
    ) -> HitlRequest:
        """Make a server's question one to a person. Raises UnanswerableError, RpcError."""
        if not self.can_answer([question]):
            raise UnanswerableError(
                f"The server {question.server!r} asks for {question.method}, which nobody at the"
                " hub can answer."
            )
        desk: _Desk = self._elicitation if question.method == ELICIT else self.sampling
        now = self.clock.now()
        return desk.make(
            workspace=call.workspace,
            origin=origin,
            held=call.id,
            key=key,
            question=question,
            request_id=self.queue.new_id(),
            now=now,
            expires_at=now + self.queue.ttl,
        )


def answer_of(request: HitlRequest) -> bytes:
    """Give the result that a settled question brought.

    Raises GoneError for one nobody answered in time (a hub does not decline for a person),
    RpcError for a rejected one, DeclinedError for one that failed.
    """
    if request.status is RequestStatus.COMPLETED and request.result is not None:
        return json.dumps(request.result).encode()
    if request.status is RequestStatus.REJECTED:
        raise RpcError(USER_REJECTED, "User rejected sampling request")
    raise fault_of(request)


def fault_of(request: HitlRequest) -> GoneError | DeclinedError:
    """Say why a question ended without an answer."""
    if request.status is RequestStatus.EXPIRED:
        text = "No person answered in time; call again to ask once more."
        return GoneError(text, code="request_expired")
    text = f"The question to a person came to nothing: {request.reason or request.status.value}"
    return DeclinedError(text, code="question_failed")


class _Desk(Protocol):
    """What the desks for elicitation and sampling have in common."""

    def make(
        self,
        *,
        workspace: WorkspaceId,
        origin: Origin,
        held: HeldCallId,
        key: str,
        question: Question,
        request_id: RequestId,
        now: datetime,
        expires_at: datetime,
    ) -> HitlRequest: ...
