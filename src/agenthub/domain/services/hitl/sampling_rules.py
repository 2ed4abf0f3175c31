"""Standing rules: which servers may ask which models alone, and for how much a day."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agenthub.domain.entities.cost import LARGEST_LIMIT
from agenthub.domain.entities.hitl.rules import SamplingRule, fits
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    FieldFault,
    InvalidError,
    NotFoundError,
)
from agenthub.domain.ids import RuleId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork

MAX_RULES = 200
MAX_PATTERN_LENGTH = 200
MAX_TOKENS = 1_000_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRuleDraft:
    """A rule as a person writes it; see SamplingRule."""

    server: str
    model: str
    daily_nano_usd: int
    max_tokens: int | None = None


class SamplingRules:
    """Rules never change: one is revoked, and another made. Revoked ones are kept."""

    def __init__(self, *, clock: Clock, ids: IdFactory, uow: UnitOfWork) -> None:
        self._clock = clock
        self._ids = ids
        self._uow = uow

    async def all(self, principal: Principal, *, with_revoked: bool = False) -> list[SamplingRule]:
        """List rules, the oldest first. Raises DeniedError."""
        principal.require(Scope.HUB_READ)
        _require_whole_hub(principal)
        async with self._uow.read(principal) as stored:
            return await stored.rules.sampling(with_revoked=with_revoked)

    async def add(self, principal: Principal, draft: SamplingRuleDraft) -> SamplingRule:
        """Make a rule. Raises InvalidError, ConflictError (`too_many_rules`), DeniedError."""
        _require_admin(principal)
        _check(draft)
        rule = SamplingRule(
            id=RuleId(self._ids.new()),
            workspace=principal.workspace,
            server=draft.server,
            model=draft.model,
            daily_nano_usd=draft.daily_nano_usd,
            max_tokens=draft.max_tokens,
            created_at=self._clock.now(),
            created_by=principal.subject,
        )
        async with self._uow.begin(principal) as tx:
            if len(await tx.rules.sampling()) >= MAX_RULES:
                text = f"There are {MAX_RULES} sampling rules; revoke some first."
                raise ConflictError(text, code="too_many_rules")
            await tx.rules.put_sampling(rule)
            await tx.commit()
        _logger.info("%s made the sampling rule %s", principal.subject, rule.id)
        return rule

    async def revoke(self, principal: Principal, rule_id: str) -> SamplingRule:
        """End a rule; it stays in the record. Raises NotFoundError, DeniedError."""
        _require_admin(principal)
        async with self._uow.begin(principal) as tx:
            rule = _found(await tx.rules.sampling(), rule_id)
            now = self._clock.now()
            revoked = replace(rule, revoked_at=now, revoked_by=principal.subject)
            await tx.rules.put_sampling(revoked)
            await tx.commit()
        _logger.info("%s revoked the sampling rule %s", principal.subject, rule.id)
        return revoked

    async def of(self, server: str) -> list[SamplingRule]:
        """List the rules in force that a server fits, the oldest first."""
        async with self._uow.read(OWNER) as stored:
            rules = await stored.rules.sampling()
        return [rule for rule in rules if fits(rule.server, server)]


def _require_admin(principal: Principal) -> None:
    principal.require(Scope.ADMIN)
    _require_whole_hub(principal)


def _require_whole_hub(principal: Principal) -> None:
    if principal.group is not None:
        text = "A key bound to a group has no part in sampling rules."
        raise DeniedError(text, code="group_bound")


def _check(draft: SamplingRuleDraft) -> None:
    faults = [
        FieldFault((name,), f"has at most {MAX_PATTERN_LENGTH} characters")
        for name in ("server", "model")
        if len(getattr(draft, name)) > MAX_PATTERN_LENGTH
    ]
    if not 1 <= draft.daily_nano_usd <= LARGEST_LIMIT:
        text = f"lies between 1 and {LARGEST_LIMIT} nano-dollars"
        faults.append(FieldFault(("daily_nano_usd",), text))
    if draft.max_tokens is not None and not 1 <= draft.max_tokens <= MAX_TOKENS:
        faults.append(FieldFault(("max_tokens",), f"lies between 1 and {MAX_TOKENS:,}"))
    if faults:
        text = "; ".join(f"{fault.loc[0]}: {fault.message}" for fault in faults)
        raise InvalidError(text, faults=tuple(faults), code="invalid_rule")


def _found(rules: Sequence[SamplingRule], rule_id: str) -> SamplingRule:
    for rule in rules:
        if rule.id == rule_id:
            return rule
    raise NotFoundError(f"There is no sampling rule {rule_id!r}.", code="rule_not_found")
