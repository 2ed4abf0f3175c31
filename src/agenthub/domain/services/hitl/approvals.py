"""Tool calls that a person must let pass: which, and what a person says to them."""

import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from agenthub.domain.entities.hitl.nesting import require_shallow
from agenthub.domain.entities.hitl.request import MAX_REASON_LENGTH, Origin, RequestStatus
from agenthub.domain.entities.hitl.rules import ApprovalPolicy, PolicyAction, ToolUse, exactly
from agenthub.domain.entities.hitl.tool_approval import Remember, ToolApproval
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import ConflictError, DeniedError, InvalidError
from agenthub.domain.ids import HeldCallId, WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction, UnitOfWork
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.rules import ApprovalPolicies, PolicyNews, may_write

MAX_ARGUMENTS_CHARS = 1_000_000
"""Of arguments that a person has changed, as JSON."""

_logger = logging.getLogger(__name__)


class ApprovalDesk:
    """Says without waiting whether a call passes, and takes a person's word where it does not."""

    def __init__(self, *, clock: Clock, ids: IdFactory, queue: HitlQueue, uow: UnitOfWork) -> None:
        self.policies = ApprovalPolicies(clock=clock, ids=ids, uow=uow)
        self._clock = clock
        self._queue = queue

    @property
    def has_policies(self) -> bool:
        """Say whether any call may be held back at all."""
        return self.policies.holds_back

    async def load(self) -> None:
        """Read the policies of the workspace."""
        await self.policies.load()

    def verdict(self, use: ToolUse) -> ApprovalPolicy | None:
        """Give the policy that asks about a call or denies it; None: the call passes."""
        policy = self.policies.decide(use)
        return None if policy is None or policy.action is PolicyAction.ALLOW else policy

    def make(
        self,
        use: ToolUse,
        policy: ApprovalPolicy,
        *,
        origin: Origin,
        held: HeldCallId,
        workspace: WorkspaceId,
        title: str = "",
        description: str = "",
    ) -> ToolApproval:
        """Make the question about a call that `policy` holds back. It is not stored yet.

        Raises InvalidError for arguments that nest too deep to be shown.
        """
        require_shallow(use.arguments, "arguments")
        now = self._clock.now()
        return ToolApproval(
            id=self._queue.new_id(),
            workspace=workspace,
            origin=origin,
            held=held,
            shown={
                "tool": use.tool,
                "arguments": dict(use.arguments),
                "title": title,
                "description": description,
                "annotations": dict(use.annotations),
                "why": policy.name,
            },
            created_at=now,
            expires_at=now + self._queue.ttl,
            policy=policy.id,
        )

    async def approve(
        self,
        principal: Principal,
        approval_id: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember = Remember.ONCE,
    ) -> ToolApproval:
        """Let a call pass, with other arguments where they are given.

        Raises InvalidError, DeniedError (`own_request`: the call was made with the same key;
        `denied_by_policy`: a policy forbids it, with these arguments), NotFoundError, GoneError,
        ConflictError (`no_conversation`). Nothing changed then.
        """
        _check_arguments(arguments)

        def move(approval: ToolApproval, now: datetime) -> ToolApproval:
            decision: dict[str, Any] = {"remember": remember.value}
            if arguments is not None and not _is_same(arguments, approval.shown.get("arguments")):
                decision["arguments"] = arguments
            _require_other(principal, approval)
            moved = approval.approved(principal.subject, decision, now)
            self._require_no_denial(moved)
            return moved

        return await self._decide(principal, approval_id, move, remember)

    async def deny(
        self,
        principal: Principal,
        approval_id: str,
        *,
        reason: str = "",
        remember: Remember = Remember.ONCE,
    ) -> ToolApproval:
        """Refuse a call; the agent's model reads the reason. Raises as `approve` does."""
        if len(reason) > MAX_REASON_LENGTH:
            text = f"must have at most {MAX_REASON_LENGTH:,} characters"
            raise InvalidError.at("reason", message=text)

        def move(approval: ToolApproval, now: datetime) -> ToolApproval:
            _require_other(principal, approval)
            return approval.denied(principal.subject, reason, now, {"remember": remember.value})

        return await self._decide(principal, approval_id, move, remember)

    async def _decide(
        self,
        principal: Principal,
        approval_id: str,
        move: Callable[[ToolApproval, datetime], ToolApproval],
        remember: Remember,
    ) -> ToolApproval:
        if remember is Remember.ALWAYS:
            may_write(principal)
        news: list[PolicyNews] = []

        async def also(tx: Transaction, approval: ToolApproval) -> None:
            if remember is not Remember.ONCE:
                policy = await self._standing(tx, approval, remember)
                news.append(await self.policies.add(tx, policy))

        decided = await self._queue.decide(principal, ToolApproval, approval_id, move, also)
        for each in news:
            self.policies.use(each)
        text = "%s decided the approval %s: %s (%s)"
        status = decided.status.value
        _logger.info(text, principal.subject, decided.id, status, remember.value)
        return decided

    def _require_no_denial(self, approval: ToolApproval) -> None:
        """What a policy forbids by now, or with other arguments, no single answer allows."""
        origin, shown, decision = approval.origin, approval.shown, approval.decision or {}
        use = ToolUse(
            server=origin.server,
            tool=origin.key,
            annotations=shown["annotations"],
            arguments=decision.get("arguments", shown["arguments"]),
            subject=origin.subject,
            conversation=origin.conversation,
        )
        policy = self.verdict(use)
        if policy is not None and policy.action is PolicyAction.DENY:
            text = f"The policy {policy.name!r} does not allow this call, with these arguments."
            raise DeniedError(text, code="denied_by_policy")

    async def _standing(
        self, tx: Transaction, approval: ToolApproval, remember: Remember
    ) -> ApprovalPolicy:
        """Make the policy that says from now on what was said of this call."""
        origin, by = approval.origin, approval.decided_by
        is_lasting = remember is Remember.ALWAYS
        if not is_lasting and not origin.conversation:
            text = "The agent names no conversation; decide once, or for always."
            raise ConflictError(text, code="no_conversation")
        held_by = [one for one in await tx.rules.policies() if one.id == approval.policy]
        is_yes = approval.status is RequestStatus.APPROVED
        return ApprovalPolicy(
            id=self.policies.new_id(),
            workspace=approval.workspace,
            name=f"{origin.server} {origin.key}",
            action=PolicyAction.ALLOW if is_yes else PolicyAction.DENY,
            server=exactly(origin.server),
            tool=exactly(origin.key),
            callers=(origin.subject,),
            conversation="" if is_lasting else origin.conversation,
            # As high as the policy that asked: of equals, the one that asks comes last.
            priority=held_by[0].priority if held_by else 0,
            created_at=self._clock.now(),
            created_by=by,
            source=approval.id,
        )


def _require_other(principal: Principal, approval: ToolApproval) -> None:
    """An agent is not to let its own calls pass, which is what its key would allow."""
    if principal.subject == approval.origin.subject != OWNER.subject:
        text = "This call was made with the same key; somebody else has to decide."
        raise DeniedError(text, code="own_request")


def _check_arguments(arguments: Any) -> None:
    if arguments is None:
        return
    if not isinstance(arguments, dict):
        raise InvalidError.at("arguments", message="must be an object")
    require_shallow(arguments, "arguments")
    try:
        size = len(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError.at("arguments", message="must be JSON") from error
    if size > MAX_ARGUMENTS_CHARS:
        text = f"must have at most {MAX_ARGUMENTS_CHARS:,} characters as JSON"
        raise InvalidError.at("arguments", message=text)


def _is_same(one: Any, other: Any) -> bool:
    """Compare as JSON, to which true is not 1. An agent's may have numbers beyond all bounds."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
