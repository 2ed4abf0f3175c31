"""Where questions to people, the calls that wait for them, and standing answers are kept."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime

from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus
from agenthub.domain.entities.hitl.rules import ApprovalPolicy, SamplingRule
from agenthub.domain.ids import GroupId, HeldCallId, RequestId, RuleId


class RequestRepository(ABC):
    """Questions to people, of the transaction's workspace."""

    @abstractmethod
    async def add(self, requests: Sequence[HitlRequest]) -> None:
        """Keep new questions."""

    @abstractmethod
    async def get(self, request_id: RequestId) -> HitlRequest | None:
        """Give one question."""

    @abstractmethod
    async def many(self, request_ids: Collection[RequestId]) -> list[HitlRequest]:
        """Give those of these that there are, in no order."""

    @abstractmethod
    async def pending(self) -> set[RequestId]:
        """Give the ids of all that are pending; cheap beside reading them."""

    @abstractmethod
    async def save(self, request: HitlRequest, was: HitlRequest) -> bool:
        """Replace a question that still has the status and the lease of `was`.

        False where it has another by now: somebody else won, and nothing is changed.
        """

    @abstractmethod
    async def page(
        self,
        kind: RequestKind,
        *,
        statuses: Collection[RequestStatus] = (),
        group: GroupId | None = None,
        before: RequestId | None = None,
        limit: int,
    ) -> list[HitlRequest]:
        """List questions of a kind, the newest first; `group`: of calls through that one only.

        Ids rise with time: `before` is the last one of the former page.
        """

    @abstractmethod
    async def open(self) -> list[HitlRequest]:
        """List all that are pending or approved, the oldest first."""

    @abstractmethod
    async def count_pending(self) -> int:
        """Count what waits for a person."""

    @abstractmethod
    async def due(self, now: datetime, *, limit: int) -> list[HitlRequest]:
        """List questions whose time is over, the most overdue first.

        Those that wait for a person: pending, or with an answer in review. What was approved and
        is under way does not expire.
        """

    @abstractmethod
    async def spent_nano_usd(self, rule_id: RuleId, since: datetime) -> int:
        """Sum what the questions that a rule decided from `since` on have cost, or may cost yet."""

    @abstractmethod
    async def prune(self, ended_before: datetime, *, limit: int) -> int:
        """Forget questions that ended before; says how many."""


class HeldCallRepository(ABC):
    """Calls that wait for a person, of the transaction's workspace."""

    @abstractmethod
    async def put(self, call: HeldCall) -> None:
        """Keep a new call."""

    @abstractmethod
    async def get(self, call_id: HeldCallId) -> HeldCall | None:
        """Give one call."""

    @abstractmethod
    async def save(self, call: HeldCall, was: HeldCall) -> bool:
        """Replace a call that still has the status and the lease of `was`; False where not."""

    @abstractmethod
    async def all(self) -> list[HeldCall]:
        """List every call, the oldest first."""

    @abstractmethod
    async def remove(self, call_ids: Collection[HeldCallId]) -> None:
        """Forget calls; unknown ones do not matter."""


class RuleRepository(ABC):
    """Standing answers, of the transaction's workspace. Revoked ones are kept, for the record."""

    @abstractmethod
    async def put_policy(self, policy: ApprovalPolicy) -> None:
        """Keep or replace an approval policy."""

    @abstractmethod
    async def policies(self, *, with_revoked: bool = False) -> list[ApprovalPolicy]:
        """List approval policies, the oldest first."""

    @abstractmethod
    async def put_sampling(self, rule: SamplingRule) -> None:
        """Keep or replace a sampling rule."""

    @abstractmethod
    async def sampling(self, *, with_revoked: bool = False) -> list[SamplingRule]:
        """List sampling rules, the oldest first."""
