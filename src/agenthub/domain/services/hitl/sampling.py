"""Servers' wishes for a model's answer: shown to a person, edited, run, looked over, delivered."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, NoReturn, Self

from agenthub.domain.entities.cost import BudgetPeriod, Purpose, period_start
from agenthub.domain.entities.hitl.chat_form import chat_form, chosen_model, object_at
from agenthub.domain.entities.hitl.chat_result import checked_result
from agenthub.domain.entities.hitl.nesting import require_shallow
from agenthub.domain.entities.hitl.request import MAX_REASON_LENGTH, Origin, RequestStatus
from agenthub.domain.entities.hitl.rules import SamplingRule, fits
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import ConflictError, GoneError, HubError, InvalidError, RpcError
from agenthub.domain.ids import HeldCallId, RequestId, RuleId, WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.llm import ModelRequest
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.hitl.model_runs import (
    ModelRuns,
    form_of,
    model_request,
    payer,
    server_of,
)
from agenthub.domain.services.hitl.news import resolved
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.sampling_rules import SamplingRuleDraft, SamplingRules
from agenthub.domain.services.models import Estimate, ModelService

MAX_QUESTION_BYTES = 4 * 1024 * 1024
"""Of one question's params, pictures included."""
_INVALID_PARAMS = -32602
_NOT_KEPT = ("_meta", "task")

_logger = logging.getLogger(__name__)


class SamplingDesk:
    """A resident: it owns the runs of what people, or their standing rules, have approved."""

    def __init__(
        self,
        *,
        clock: Clock,
        ids: IdFactory,
        models: ModelService,
        queue: HitlQueue,
        uow: UnitOfWork,
    ) -> None:
        self._clock = clock
        self._models = models
        self._queue = queue
        self._rules = SamplingRules(clock=clock, ids=ids, uow=uow)
        self._runs = ModelRuns(clock=clock, ids=ids, models=models, queue=queue, uow=uow)
        self._uow = uow

    async def __aenter__(self) -> Self:
        await self._runs.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runs.__aexit__(kind, error, trace)

    async def recover(self) -> None:
        """Go on with what was approved and not begun; end what a dead process has begun."""
        await self._runs.recover()

    @property
    def is_able(self) -> bool:
        """Say whether the hub has a model to ask."""
        return self._models.model is not None

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
    ) -> SamplingRequest:
        """Make a question of a server's. Raises RpcError, for the server, where it asks wrongly."""
        return SamplingRequest(
            id=request_id,
            workspace=workspace,
            origin=origin,
            held=held,
            key=key,
            shown=_read(question.params),
            created_at=now,
            expires_at=expires_at,
        )

    async def after_asked(self, request: SamplingRequest) -> None:
        """Let a standing rule approve a stored question; else it waits for a person."""
        if not self.is_able:
            return
        try:
            rules = await self._rules.of(request.origin.server)
            for rule in rules:
                if await self._is_approved_by(rule, rules, request):
                    return
        except HubError as error:
            _logger.info("a sampling request waits for a person: %s", error.message)

    async def estimate(
        self, principal: Principal, request_id: str, decision: Mapping[str, Any]
    ) -> Estimate:
        """Reckon what a decision may cost at most. Raises as `approve`, and no QuotaError."""
        request = await self._queue.get(principal, SamplingRequest, request_id)
        wanted = await self._wanted(request, decision)
        return await self._models.estimate(payer(request), wanted)

    async def approve(
        self, principal: Principal, request_id: str, decision: Mapping[str, Any]
    ) -> SamplingRequest:
        """Let the model be asked; it is, in a task of the desk's own.

        `decision` may have `messages` and `system_prompt` in place of the server's, `model`,
        `max_tokens`, and `review`. Raises InvalidError, ConflictError (`model_not_configured`) and
        QuotaError (`budget_exceeded`), which leave the question open; NotFoundError, DeniedError,
        ConflictError, GoneError.
        """
        request = await self._queue.get(principal, SamplingRequest, request_id)
        kept: dict[str, Any] = {}
        if request.status is RequestStatus.PENDING and self._clock.now() < request.expires_at:
            kept, _ = await self._checked(request, decision)

        def move(found: SamplingRequest, now: datetime) -> SamplingRequest:
            return found.approved(principal.subject, kept, now)

        moved = await self._queue.decide(principal, SamplingRequest, request_id, move)
        self._runs.start(moved)
        return moved

    async def deliver(
        self, principal: Principal, request_id: str, result: dict[str, Any] | None = None
    ) -> SamplingRequest:
        """Send an answer that was looked over, or `result` in its place.

        Raises InvalidError (the answer still waits), NotFoundError, DeniedError, ConflictError,
        GoneError.
        """

        def move(found: SamplingRequest, now: datetime) -> SamplingRequest:
            moved = found.delivered(principal.subject, None, now)
            if result is not None:
                require_shallow(result, "result")
                given = checked_result(result, with_tools=bool(found.shown.get("tools")))
                moved = found.delivered(principal.subject, given, now)
            return replace(moved, decision=_recorded(found, moved))

        return await self._queue.decide(principal, SamplingRequest, request_id, move)

    async def reject(
        self, principal: Principal, request_id: str, reason: str = ""
    ) -> SamplingRequest:
        """Refuse a question, or its answer that was looked over. Raises as `deliver`."""
        if len(reason) > MAX_REASON_LENGTH:
            text = f"has at most {MAX_REASON_LENGTH:,} characters"
            raise InvalidError.at("reason", message=text)

        def move(found: SamplingRequest, now: datetime) -> SamplingRequest:
            return found.rejected(principal.subject, reason, now)

        return await self._queue.decide(principal, SamplingRequest, request_id, move)

    async def rules(
        self, principal: Principal, *, with_revoked: bool = False
    ) -> list[SamplingRule]:
        """List standing rules, the oldest first. Raises DeniedError."""
        return await self._rules.all(principal, with_revoked=with_revoked)

    async def add_rule(self, principal: Principal, draft: SamplingRuleDraft) -> SamplingRule:
        """Make a standing rule. Raises InvalidError, ConflictError, DeniedError."""
        return await self._rules.add(principal, draft)

    async def revoke_rule(self, principal: Principal, rule_id: str) -> SamplingRule:
        """End a standing rule. Raises NotFoundError, DeniedError."""
        return await self._rules.revoke(principal, rule_id)

    async def _checked(
        self, request: SamplingRequest, decision: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Estimate]:
        """Give a decision as it is kept. Raises all that is certain before anything is spent."""
        wanted = await self._wanted(request, decision)
        estimate = await self._models.check(
            payer(request), wanted, Purpose.SAMPLING, server=server_of(request)
        )
        given = {name: value for name, value in decision.items() if value is not None}
        return given | {"model": estimate.model, "max_tokens": estimate.max_tokens}, estimate

    async def _wanted(self, request: SamplingRequest, decision: Mapping[str, Any]) -> ModelRequest:
        require_shallow(decision, "messages")
        form = form_of(request.shown, decision)
        chosen = decision.get("model")
        if not chosen:
            rules = await self._rules.of(request.origin.server)
            chosen = chosen_model(form.hints, self._models.model or "", _named(rules))
        return model_request(form, {"model": chosen})

    async def _is_approved_by(
        self, rule: SamplingRule, rules: Sequence[SamplingRule], request: SamplingRequest
    ) -> bool:
        """Approve by a rule, where what it may cost has room in the rule's day."""
        model = chosen_model(
            chat_form(request.shown).hints, self._models.model or "", _named(rules)
        )
        if not fits(rule.model, model):
            return False
        wanted = {"model": model, "max_tokens": rule.max_tokens}
        decision, estimate = await self._checked(request, wanted)
        if estimate.most_nano_usd is None:
            return False
        moved = await self._approved_in_budget(rule, request.id, decision, estimate.most_nano_usd)
        if moved is None:
            return False
        self._runs.start(moved)
        return True

    async def _approved_in_budget(
        self, rule: SamplingRule, request_id: RequestId, decision: dict[str, Any], most: int
    ) -> SamplingRequest | None:
        """Look at what the rule's day has cost and approve, in one transaction."""
        async with self._uow.begin(OWNER) as tx:
            now = self._clock.now()
            found = await tx.requests.get(request_id)
            if not isinstance(found, SamplingRequest) or not _is_in_force(
                rule.id, await tx.rules.sampling()
            ):
                return None
            today = period_start(BudgetPeriod.DAY, now)
            if await tx.requests.spent_nano_usd(rule.id, today) + most > rule.daily_nano_usd:
                return None
            try:
                approved = found.approved(f"rule:{rule.id}", decision, now, rule.id)
            except (ConflictError, GoneError):
                return None  # a person was faster
            moved = replace(approved, reserved_nano_usd=most)
            if not await tx.requests.save(moved, found):
                return None
            tx.emit(resolved(moved, now))
            await tx.commit()
        return moved


def _read(params: bytes) -> dict[str, Any]:
    """Give a question's params. Raises RpcError for what is no `sampling/createMessage`."""
    if len(params) > MAX_QUESTION_BYTES:
        raise RpcError(_INVALID_PARAMS, f"The question has over {MAX_QUESTION_BYTES:,} bytes.")
    try:
        found = object_at(json.loads(params, parse_constant=_refuse))
        require_shallow(found, "params")
        chat_form(found)
    except InvalidError as error:
        raise RpcError(_INVALID_PARAMS, error.message) from error
    except (ValueError, RecursionError) as error:
        raise RpcError(_INVALID_PARAMS, "The question's params are no JSON.") from error
    return {name: value for name, value in found.items() if name not in _NOT_KEPT}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _named(rules: Sequence[SamplingRule]) -> list[str]:
    """List the models that rules name, and not only describe."""
    return [rule.model for rule in rules if rule.model and not set("*?") & set(rule.model)]


def _is_in_force(rule_id: RuleId, rules: Sequence[SamplingRule]) -> bool:
    return any(rule.id == rule_id for rule in rules)


def _recorded(found: SamplingRequest, moved: SamplingRequest) -> dict[str, Any]:
    """Keep who had approved it, and the model's own answer where a person changed it."""
    record: dict[str, Any] = {**(found.decision or {}), "approved_by": found.decided_by}
    if moved.result != found.result:
        record["answer"] = found.result
    return record
