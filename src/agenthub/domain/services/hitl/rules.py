"""Which tool calls need a person: the policies, kept, listed, changed and revoked."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agenthub.domain.entities.hitl.rule_checks import check_policy
from agenthub.domain.entities.hitl.rules import (
    ApprovalPolicy,
    ArgumentCondition,
    PolicyAction,
    ToolUse,
    decide,
    is_in_force,
)
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import ConflictError, DeniedError, NotFoundError
from agenthub.domain.ids import RuleId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.storage.unit_of_work import Reading, Transaction, UnitOfWork

MAX_POLICIES = 500
"""Without those for one conversation."""
MAX_FOR_CONVERSATIONS = 500
"""Beyond it the oldest end by themselves: nobody tidies conversations up."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDraft:
    """A policy as a person writes it; see ApprovalPolicy."""

    name: str
    action: PolicyAction
    server: str = ""
    tool: str = ""
    annotations: dict[str, bool] = field(default_factory=dict[str, bool])
    arguments: tuple[ArgumentCondition, ...] = ()
    callers: tuple[str, ...] = ()
    priority: int = 0
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPatch:
    """What is to change; None leaves a field as it is."""

    name: str | None = None
    action: PolicyAction | None = None
    server: str | None = None
    tool: str | None = None
    annotations: dict[str, bool] | None = None
    arguments: tuple[ArgumentCondition, ...] | None = None
    callers: tuple[str, ...] | None = None
    priority: int | None = None
    enabled: bool | None = None

    def changes(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PolicyNews:
    """The policies as one transaction leaves them. Writers come one after the other, so that a
    higher `number` is newer.
    """

    number: int
    policies: tuple[ApprovalPolicy, ...]


class ApprovalPolicies:
    """Knows the policies in force without waiting.

    Nothing is lost for the record: what is revoked stays with who did it, and of what is changed a
    copy stays as it was, revoked by who changed it, whose `source` is the policy's id.
    """

    def __init__(self, *, clock: Clock, ids: IdFactory, uow: UnitOfWork) -> None:
        self._clock = clock
        self._ids = ids
        self._uow = uow
        self._in_force: tuple[ApprovalPolicy, ...] = ()
        self._holds_back = False
        self._reads = 0
        self._number = 0

    @property
    def holds_back(self) -> bool:
        """Say whether any policy asks or denies; else every call passes."""
        return self._holds_back

    async def load(self) -> None:
        """Read the policies of the workspace."""
        async with self._uow.read(OWNER) as stored:
            self.use(await self._read(stored))

    def decide(self, use: ToolUse) -> ApprovalPolicy | None:
        """Give the policy in force that stands for a call."""
        return decide(self._in_force, use)

    async def all(
        self, principal: Principal, *, with_revoked: bool = False
    ) -> list[ApprovalPolicy]:
        """List policies, the oldest first. Raises DeniedError."""
        _may_read(principal)
        async with self._uow.read(principal) as stored:
            return await stored.rules.policies(with_revoked=with_revoked)

    async def get(self, principal: Principal, policy_id: str) -> ApprovalPolicy:
        """Give one policy, also a revoked one. Raises NotFoundError, DeniedError."""
        return _found(await self.all(principal, with_revoked=True), policy_id)

    async def create(self, principal: Principal, draft: PolicyDraft) -> ApprovalPolicy:
        """Make a policy. Raises InvalidError, ConflictError, DeniedError."""
        may_write(principal)
        policy = ApprovalPolicy(
            id=self.new_id(),
            workspace=principal.workspace,
            name=draft.name,
            action=draft.action,
            server=draft.server,
            tool=draft.tool,
            annotations=draft.annotations,
            arguments=draft.arguments,
            callers=draft.callers,
            priority=draft.priority,
            enabled=draft.enabled,
            created_at=self._clock.now(),
            created_by=principal.subject,
        )
        check_policy(policy)
        async with self._uow.begin(principal) as tx:
            news = await self.add(tx, policy)
            await tx.commit()
            self.use(news)
        _logger.info("%s made the approval policy %s", principal.subject, policy.id)
        return policy

    async def change(
        self, principal: Principal, policy_id: str, patch: PolicyPatch
    ) -> ApprovalPolicy:
        """Change a policy in force. Raises NotFoundError, InvalidError, DeniedError."""
        may_write(principal)
        async with self._uow.begin(principal) as tx:
            former = _found(await tx.rules.policies(), policy_id)
            policy = replace(former, **patch.changes())
            check_policy(policy)
            if policy == former:
                return policy
            copy = replace(former, id=self.new_id(), source=former.id)
            await tx.rules.put_policy(self._revoked(copy, principal.subject))
            await tx.rules.put_policy(policy)
            news = await self._read(tx)
            await tx.commit()
            self.use(news)
        _logger.info("%s changed the approval policy %s", principal.subject, policy.id)
        return policy

    async def revoke(self, principal: Principal, policy_id: str) -> ApprovalPolicy:
        """End a policy; it stays in the record. Raises NotFoundError, DeniedError."""
        may_write(principal)
        async with self._uow.begin(principal) as tx:
            former = _found(await tx.rules.policies(), policy_id)
            policy = self._revoked(former, principal.subject)
            await tx.rules.put_policy(policy)
            news = await self._read(tx)
            await tx.commit()
            self.use(news)
        _logger.info("%s revoked the approval policy %s", principal.subject, policy.id)
        return policy

    def new_id(self) -> RuleId:
        return RuleId(self._ids.new())

    async def add(self, tx: Transaction, policy: ApprovalPolicy) -> PolicyNews:
        """Keep a new policy within a transaction; after the commit the news are to be used.

        Raises ConflictError (`too_many_policies`).
        """
        kept = [
            one
            for one in await tx.rules.policies()
            if bool(one.conversation) is bool(policy.conversation)
        ]
        if policy.conversation:
            for old in kept[: max(len(kept) - MAX_FOR_CONVERSATIONS + 1, 0)]:
                await tx.rules.put_policy(self._revoked(old, policy.created_by))
        elif len(kept) >= MAX_POLICIES:
            text = f"There are {MAX_POLICIES:,} approval policies; revoke some first."
            raise ConflictError(text, code="too_many_policies")
        await tx.rules.put_policy(policy)
        return await self._read(tx)

    def use(self, news: PolicyNews) -> None:
        """Go by what was read in a transaction that is committed now."""
        if news.number < self._number:
            return  # a later transaction's was faster
        self._number = news.number
        self._in_force = tuple(filter(is_in_force, news.policies))
        self._holds_back = any(one.action is not PolicyAction.ALLOW for one in self._in_force)

    async def _read(self, stored: Reading) -> PolicyNews:
        self._reads += 1
        return PolicyNews(self._reads, tuple(await stored.rules.policies()))

    def _revoked(self, policy: ApprovalPolicy, by: str) -> ApprovalPolicy:
        return replace(policy, revoked_at=self._clock.now(), revoked_by=by)


def may_write(principal: Principal) -> None:
    """Raise DeniedError for whoever may not make lasting rules."""
    principal.require(Scope.ADMIN)
    _require_whole_hub(principal)


def _may_read(principal: Principal) -> None:
    principal.require(Scope.HUB_READ)
    _require_whole_hub(principal)


def _require_whole_hub(principal: Principal) -> None:
    if principal.group is not None:
        text = "A key bound to a group has no part in approval policies."
        raise DeniedError(text, code="group_bound")


def _found(policies: Sequence[ApprovalPolicy], policy_id: str) -> ApprovalPolicy:
    for policy in policies:
        if policy.id == policy_id:
            return policy
    raise NotFoundError(f"There is no approval policy {policy_id!r}.", code="policy_not_found")
