"""A question to a person: who caused it, how it may move, and when it is too late."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from agenthub.domain.exceptions import ConflictError, GoneError, HubError
from agenthub.domain.ids import EndpointId, GroupId, HeldCallId, RequestId, WorkspaceId

MAX_REASON_LENGTH = 2_000


class RequestKind(StrEnum):
    SAMPLING = "sampling"
    ELICITATION = "elicitation"
    APPROVAL = "approval"


class RequestStatus(StrEnum):
    """PENDING -> APPROVED -> COMPLETED, and the three ways to end without.

    APPROVED: a person has decided, and what was decided is under way or waits for a second look.
    """

    PENDING = "pending"
    APPROVED = "approved"
    COMPLETED = "completed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"


OPEN = frozenset({RequestStatus.PENDING, RequestStatus.APPROVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What caused a question. `subject`, `agent`, `deed` and `key` are empty where the server
    asked while calls of several agents were under way: then nobody knows, and nobody guesses.
    """

    server: str
    endpoint_id: EndpointId
    subject: str = ""
    """The principal's, as in the ledger."""
    group: GroupId | None = None
    agent: str = ""
    """What the agent calls itself. Its own word, not to be trusted."""
    conversation: str = ""
    """Equal for calls of one session or conversation; empty where the agent has none."""
    deed: str = ""
    """The MCP method of the call that waits."""
    key: str = ""
    """The server's own name of the tool or prompt, or URI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HitlRequest:
    """One question to a person. Moves give the moved question, or raise and change nothing.

    Raises ConflictError (`request_decided`): somebody else was faster; GoneError
    (`request_expired`): it is too late.
    """

    KIND: ClassVar[RequestKind]

    id: RequestId
    workspace: WorkspaceId
    origin: Origin
    held: HeldCallId
    """The call that waits for the answer."""
    key: str = ""
    """Which question of the call's present round it is, in the words of whoever asked."""
    shown: dict[str, Any]
    """What the person is asked, as the server put it."""
    created_at: datetime
    expires_at: datetime
    status: RequestStatus = RequestStatus.PENDING
    decision: dict[str, Any] | None = None
    """What the person chose and changed."""
    decided_at: datetime | None = None
    decided_by: str = ""
    """A principal's subject, or `rule:` with the id of the rule that stood for the person."""
    result: dict[str, Any] | None = None
    """What goes back to the server."""
    reason: str = ""
    """Why it was rejected, or has failed, or why its answer came to nothing."""
    ended_at: datetime | None = None
    lease: str | None = None
    """Who carries the decision out. Set before anything is done that must not be done twice."""

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_settled(self) -> bool:
        """Say whether who waits for it can go on."""
        return not self.is_open

    def expired(self, now: datetime) -> Self:
        """Nobody answered in time. Raises ConflictError for one that is not pending or not late."""
        if self.status is not RequestStatus.PENDING or now < self.expires_at:
            raise self._decided()
        return replace(self, status=RequestStatus.EXPIRED, ended_at=now)

    def failed(self, reason: str, now: datetime) -> Self:
        """It cannot go on. Raises ConflictError for one that has ended."""
        if not self.is_open:
            raise self._decided()
        return replace(
            self,
            status=RequestStatus.FAILED,
            reason=reason,
            result=None,
            ended_at=now,
            lease=None,
        )

    def undone(self, reason: str, now: datetime) -> Self:
        """It came to nothing: fail, or beside the answer that was given say why. As `failed`."""
        if self.status is RequestStatus.COMPLETED:
            return replace(self, reason=reason)
        return self.failed(reason, now)

    def begun(self, lease: str) -> Self:
        """Begin to carry the decision out, once. Raises ConflictError."""
        if self.status is not RequestStatus.APPROVED or self.lease or self.result is not None:
            raise self._decided()
        return replace(self, lease=lease)

    def _require_pending(self, now: datetime) -> None:
        if self.status is RequestStatus.EXPIRED or (
            self.status is RequestStatus.PENDING and now >= self.expires_at
        ):
            raise self._gone()
        if self.status is not RequestStatus.PENDING:
            raise self._decided()

    def _gone(self) -> HubError:
        return GoneError(
            "This question has expired; the agent has to call again.", code="request_expired"
        )

    def _decided(self) -> HubError:
        return ConflictError(
            f"This question is {self.status.value} already; look at what became of it.",
            code="request_decided",
        )
