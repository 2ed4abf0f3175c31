"""A server's question for input, which a person accepts, declines or cancels."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus


class Action(StrEnum):
    """MCP `ElicitResult.action`."""

    ACCEPT = "accept"
    DECLINE = "decline"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElicitationRequest(HitlRequest):
    """`shown` are the params of `elicitation/create`, `result` is its result (MCP).

    Whatever a person answers completes it: a refusal is an answer too.
    """

    KIND: ClassVar[RequestKind] = RequestKind.ELICITATION

    @property
    def is_url(self) -> bool:
        return self.shown.get("mode", "form") == "url"

    def answered(
        self, by: str, action: Action, content: dict[str, Any] | None, now: datetime
    ) -> "ElicitationRequest":
        """`content` was checked against the form before. Raises ConflictError, GoneError."""
        self._require_pending(now)
        result: dict[str, Any] = {"action": action.value}
        if action is Action.ACCEPT and not self.is_url:
            result["content"] = content or {}
        return replace(
            self,
            status=RequestStatus.COMPLETED,
            decision=result,
            result=result,
            decided_at=now,
            decided_by=by,
            ended_at=now,
        )
