"""A tool call that a policy holds back until a person lets it pass."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus
from agenthub.domain.ids import RuleId


class Remember(StrEnum):
    """For how long a person's word holds."""

    ONCE = "once"
    CONVERSATION = "conversation"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolApproval(HitlRequest):
    """`shown` has `tool`, `arguments`, `title`, `description`, `annotations`, `why`.

    `decision` has `arguments`, where the person changed them, and `remember`.
    """

    KIND: ClassVar[RequestKind] = RequestKind.APPROVAL

    policy: RuleId | None = None
    """Which policy held it back."""

    @property
    def is_settled(self) -> bool:
        """Who waits goes on with the call as soon as it is approved."""
        return self.status is not RequestStatus.PENDING

    def approved(self, by: str, decision: dict[str, Any], now: datetime) -> "ToolApproval":
        """Raises ConflictError, GoneError."""
        self._require_pending(now)
        return replace(
            self,
            status=RequestStatus.APPROVED,
            decision=decision,
            decided_at=now,
            decided_by=by,
        )

    def denied(
        self, by: str, reason: str, now: datetime, decision: dict[str, Any] | None = None
    ) -> "ToolApproval":
        """Raises ConflictError, GoneError."""
        self._require_pending(now)
        return replace(
            self,
            status=RequestStatus.REJECTED,
            reason=reason,
            decision=decision,
            decided_at=now,
            decided_by=by,
            ended_at=now,
        )

    def completed(self, now: datetime) -> "ToolApproval":
        """The call was made, once. Raises ConflictError."""
        if self.status is not RequestStatus.APPROVED or self.lease is None:
            raise self._decided()
        return replace(self, status=RequestStatus.COMPLETED, ended_at=now, lease=None)
