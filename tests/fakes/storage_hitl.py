"""Questions to people, held calls and standing answers in memory."""

import json
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus
from agenthub.domain.entities.hitl.rules import ApprovalPolicy, SamplingRule
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.exceptions import ConflictError, InvalidError
from agenthub.domain.ids import GroupId, HeldCallId, RequestId, RuleId, WorkspaceId
from agenthub.domain.ports.outbound.storage.hitl import (
    HeldCallRepository,
    RequestRepository,
    RuleRepository,
)


@dataclass
class HitlRows:
    """What one workspace keeps of people's dealings."""

    requests: dict[RequestId, HitlRequest] = field(default_factory=dict[RequestId, HitlRequest])
    held_calls: dict[HeldCallId, HeldCall] = field(default_factory=dict[HeldCallId, HeldCall])
    policies: dict[RuleId, ApprovalPolicy] = field(default_factory=dict[RuleId, ApprovalPolicy])
    sampling: dict[RuleId, SamplingRule] = field(default_factory=dict[RuleId, SamplingRule])


class FakeRequestRepository(RequestRepository):
    def __init__(self, rows: HitlRows, workspace: WorkspaceId) -> None:
        self._rows = rows.requests
        self._workspace = workspace

    async def add(self, requests: Sequence[HitlRequest]) -> None:
        for one in requests:
            if one.id in self._rows:
                raise ConflictError("This is stored already, or refers to what is gone.")
            self._keep(one)

    async def get(self, request_id: RequestId) -> HitlRequest | None:
        return deepcopy(self._rows.get(request_id))

    async def many(self, request_ids: Collection[RequestId]) -> list[HitlRequest]:
        return deepcopy([self._rows[each] for each in set(request_ids) if each in self._rows])

    async def pending(self) -> set[RequestId]:
        rows = self._rows.values()
        return {each.id for each in rows if each.status is RequestStatus.PENDING}

    async def save(self, request: HitlRequest, was: HitlRequest) -> bool:
        kept = self._rows.get(request.id)
        if kept is None or (kept.status, kept.lease) != (was.status, was.lease):
            return False
        self._keep(request)
        return True

    async def page(
        self,
        kind: RequestKind,
        *,
        statuses: Collection[RequestStatus] = (),
        group: GroupId | None = None,
        before: RequestId | None = None,
        limit: int,
    ) -> list[HitlRequest]:
        _check(group, before)
        found = [
            one
            for one in self._rows.values()
            if one.KIND is kind
            and (not statuses or one.status in statuses)
            and (group is None or one.origin.group == group)
            and (before is None or one.id < before)
        ]
        return deepcopy(sorted(found, key=lambda one: one.id, reverse=True)[:limit])

    async def open(self) -> list[HitlRequest]:
        found = [one for one in self._rows.values() if one.is_open]
        return deepcopy(sorted(found, key=_age))

    async def count_pending(self) -> int:
        return sum(one.status is RequestStatus.PENDING for one in self._rows.values())

    async def due(self, now: datetime, *, limit: int) -> list[HitlRequest]:
        late = [one for one in self._rows.values() if _can_expire(one) and one.expires_at <= now]
        return deepcopy(sorted(late, key=lambda one: (one.expires_at, one.id))[:limit])

    async def spent_nano_usd(self, rule_id: RuleId, since: datetime) -> int:
        return sum(
            (one.cost_nano_usd or 0) + one.reserved_nano_usd
            for one in self._rows.values()
            if isinstance(one, SamplingRequest)
            and one.rule == rule_id
            and one.decided_at is not None
            and one.decided_at >= since
        )

    async def prune(self, ended_before: datetime, *, limit: int) -> int:
        ended = [
            (one.ended_at, one.id)
            for one in self._rows.values()
            if one.ended_at is not None and one.ended_at < ended_before
        ]
        gone = sorted(ended)[:limit]
        for _, request_id in gone:
            del self._rows[request_id]
        return len(gone)

    def _keep(self, request: HitlRequest) -> None:
        _check(request.lease, request.decided_by)
        self._rows[request.id] = replace(
            request,
            workspace=self._workspace,
            shown=_as_json(request.shown),
            decision=_as_json(request.decision),
            result=_as_json(request.result),
        )


class FakeHeldCallRepository(HeldCallRepository):
    def __init__(self, rows: HitlRows, workspace: WorkspaceId) -> None:
        self._rows = rows.held_calls
        self._workspace = workspace

    async def put(self, call: HeldCall) -> None:
        if call.id in self._rows:
            raise ConflictError("This is stored already, or refers to what is gone.")
        self._keep(call)

    async def get(self, call_id: HeldCallId) -> HeldCall | None:
        return deepcopy(self._rows.get(call_id))

    async def save(self, call: HeldCall, was: HeldCall) -> bool:
        kept = self._rows.get(call.id)
        if kept is None or (kept.status, kept.lease) != (was.status, was.lease):
            return False
        self._keep(call)
        return True

    async def all(self) -> list[HeldCall]:
        return deepcopy(sorted(self._rows.values(), key=_age))

    async def remove(self, call_ids: Collection[HeldCallId]) -> None:
        for each in call_ids:
            self._rows.pop(each, None)

    def _keep(self, call: HeldCall) -> None:
        _check(call.lease, call.subject, call.binding, call.deed)
        self._rows[call.id] = replace(
            call,
            workspace=self._workspace,
            params=_as_json(call.params),
            meta=_as_json(call.meta),
            going_on=_as_json(call.going_on),
            outcome=_as_json(call.outcome),
        )


class FakeRuleRepository(RuleRepository):
    def __init__(self, rows: HitlRows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def put_policy(self, policy: ApprovalPolicy) -> None:
        _check(policy.name, policy.server, policy.tool, policy.source)
        _check(policy.created_by, policy.revoked_by)
        kept = replace(policy, workspace=self._workspace, annotations=dict(policy.annotations))
        self._rows.policies[policy.id] = deepcopy(kept)

    async def policies(self, *, with_revoked: bool = False) -> list[ApprovalPolicy]:
        return _in_force(self._rows.policies.values(), with_revoked)

    async def put_sampling(self, rule: SamplingRule) -> None:
        _check(rule.server, rule.model, rule.created_by, rule.revoked_by)
        self._rows.sampling[rule.id] = replace(rule, workspace=self._workspace)

    async def sampling(self, *, with_revoked: bool = False) -> list[SamplingRule]:
        return _in_force(self._rows.sampling.values(), with_revoked)


class _Aged(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


_Rule = TypeVar("_Rule", ApprovalPolicy, SamplingRule)


def _in_force(rules: Collection[_Rule], with_revoked: bool) -> list[_Rule]:
    found = [one for one in rules if with_revoked or one.revoked_at is None]
    return deepcopy(sorted(found, key=_age))


def _age(one: _Aged) -> tuple[datetime, str]:
    return one.created_at, one.id


def _can_expire(request: HitlRequest) -> bool:
    is_in_review = request.status is RequestStatus.APPROVED and request.result is not None
    return request.status is RequestStatus.PENDING or is_in_review


def _as_json(document: Any) -> Any:
    """Give a copy; TypeError for what is no JSON, which the databases could not keep."""
    return json.loads(json.dumps(document))


def _check(*texts: str | None) -> None:
    for text in texts:
        if text and any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in text):
            raise InvalidError("unstorable text", code="invalid_text")
