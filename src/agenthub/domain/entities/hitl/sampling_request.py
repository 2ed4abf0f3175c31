"""A server's wish for a model's answer, which a person lets pass, edits or rejects."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus
from agenthub.domain.ids import EntryId, RuleId


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRequest(HitlRequest):
    """`shown` are the params of `sampling/createMessage`, `result` is its result (MCP).

    `decision` may hold `messages`, `system_prompt`, `model`, `max_tokens` and `review`.
    """

    KIND: ClassVar[RequestKind] = RequestKind.SAMPLING

    rule: RuleId | None = None
    entry: EntryId | None = None
    """The ledger's entry of the model call."""
    reserved_nano_usd: int = 0
    """The most it can cost, while it is under way; counts against a rule's daily amount."""
    cost_nano_usd: int | None = None

    @property
    def is_in_review(self) -> bool:
        return self.status is RequestStatus.APPROVED and self.result is not None

    def approved(
        self, by: str, decision: dict[str, Any], now: datetime, rule: RuleId | None = None
    ) -> "SamplingRequest":
        """Let the model be asked. Raises ConflictError, GoneError."""
        self._require_pending(now)
        return replace(
            self,
            status=RequestStatus.APPROVED,
            decision=decision,
            decided_at=now,
            decided_by=by,
            rule=rule,
        )

    def answered(
        self,
        result: dict[str, Any],
        entry: EntryId | None,
        cost_nano_usd: int | None,
        now: datetime,
    ) -> "SamplingRequest":
        """The model has answered: it is done, or waits for a second look (`review`).

        Where nobody knows what it cost, the most that it can have cost goes on counting.
        """
        if self.status is not RequestStatus.APPROVED or self.lease is None:
            raise self._decided()
        waits = bool((self.decision or {}).get("review"))
        return replace(
            self,
            status=RequestStatus.APPROVED if waits else RequestStatus.COMPLETED,
            result=result,
            entry=entry,
            cost_nano_usd=cost_nano_usd,
            reserved_nano_usd=self.reserved_nano_usd if cost_nano_usd is None else 0,
            lease=None,
            ended_at=None if waits else now,
        )

    def delivered(self, by: str, result: dict[str, Any] | None, now: datetime) -> "SamplingRequest":
        """Send the reviewed answer, or `result` instead of it. Raises ConflictError, GoneError."""
        self._require_in_time(now)
        if not self.is_in_review:
            raise self._decided()
        return replace(
            self,
            status=RequestStatus.COMPLETED,
            result=self.result if result is None else result,
            decided_by=by,
            ended_at=now,
        )

    def rejected(self, by: str, reason: str, now: datetime) -> "SamplingRequest":
        """Refuse it, also its answer in review. Raises ConflictError, GoneError."""
        self._require_in_time(now)
        if not self.is_in_review:
            self._require_pending(now)
        return replace(
            self,
            status=RequestStatus.REJECTED,
            reason=reason,
            decided_at=now,
            decided_by=by,
            ended_at=now,
            result=None,
        )

    def _require_in_time(self, now: datetime) -> None:
        """Nobody looked at the model's answer in time."""
        is_late = self.is_in_review and now >= self.expires_at
        if is_late or self.status is RequestStatus.EXPIRED:
            raise self._gone()

    def expired(self, now: datetime) -> "SamplingRequest":
        """As any; an answer in review nobody looked at expires as well."""
        if self.is_in_review and now >= self.expires_at:
            return replace(self, status=RequestStatus.EXPIRED, ended_at=now, result=None)
        return super(SamplingRequest, self).expired(now)

    def failed(self, reason: str, now: datetime) -> "SamplingRequest":
        """As any; its amount still counts where the model may have been asked."""
        ended = super(SamplingRequest, self).failed(reason, now)
        return ended if self.lease else replace(ended, reserved_nano_usd=0)
