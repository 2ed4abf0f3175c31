"""Domain events: facts, past tense, small; they carry ids and never secrets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from agenthub.domain.ids import BudgetId, EndpointId, EntryId, GroupId, RequestId, WorkspaceId


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent:
    """Something that happened in one workspace. `name` is its public type on the event feed."""

    name: ClassVar[str]
    workspace: WorkspaceId
    at: datetime

    def facts(self) -> dict[str, Any]:
        """Give the JSON-ready facts of this event, beside type, time and workspace."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatusChanged(DomainEvent):
    """An endpoint was added, removed, enabled, disabled, or its connection changed."""

    name: ClassVar[str] = "server.status"
    endpoint_id: EndpointId
    server: str
    status: str
    detail: str | None = None
    instance: str | None = None
    """Which of its further instances is meant, where it is not the server's own address."""

    def facts(self) -> dict[str, Any]:
        return {
            "server_id": self.endpoint_id,
            "server": self.server,
            "status": self.status,
            "detail": self.detail,
            "instance": self.instance,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogChanged(DomainEvent):
    """The tools, resources or prompts of an endpoint or a group are no longer what they were."""

    name: ClassVar[str] = "catalog.changed"
    server: str | None
    kinds: tuple[str, ...]
    counts: dict[str, int]

    def facts(self) -> dict[str, Any]:
        return {"server": self.server, "kinds": list(self.kinds), "counts": self.counts}


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(DomainEvent):
    """A circuit breaker moved. `tool` is empty for that of a whole instance."""

    name: ClassVar[str] = "breaker.changed"
    endpoint_id: EndpointId
    server: str
    instance: str
    tool: str
    before: str
    state: str
    reason: str
    retry_after_s: float | None = None

    def facts(self) -> dict[str, Any]:
        return {
            "server_id": self.endpoint_id,
            "server": self.server,
            "instance": self.instance,
            "tool": self.tool or None,
            "before": self.before,
            "state": self.state,
            "reason": self.reason,
            "retry_after_s": self.retry_after_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAlerted(DomainEvent):
    """A budget's spend passed one of its percents in this period."""

    name: ClassVar[str] = "budget.alert"
    budget_id: BudgetId
    scope: str
    subject: str
    percent: int
    spent_nano_usd: int
    limit_nano_usd: int
    hard_stop: bool
    server: str | None = None

    def facts(self) -> dict[str, Any]:
        return {
            "budget_id": self.budget_id,
            "scope": self.scope,
            "subject": self.subject,
            "percent": self.percent,
            "spent_nano_usd": self.spent_nano_usd,
            "limit_nano_usd": self.limit_nano_usd,
            "hard_stop": self.hard_stop,
            "server": self.server,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRecorded(DomainEvent):
    """An entry of the ledger that costs, or whose price is unknown, was settled."""

    name: ClassVar[str] = "cost.recorded"
    entry_id: EntryId
    kind: str
    purpose: str
    subject: str
    server: str | None
    tool: str | None
    model: str | None
    status: str
    cost_nano_usd: int | None

    def facts(self) -> dict[str, Any]:
        return {
            "entry_id": self.entry_id,
            "kind": self.kind,
            "purpose": self.purpose,
            "subject": self.subject,
            "server": self.server,
            "tool": self.tool,
            "model": self.model,
            "status": self.status,
            "cost_nano_usd": self.cost_nano_usd,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionChanged(DomainEvent):
    """A known tool's definition is no longer what was accepted; `held`: it is quarantined."""

    name: ClassVar[str] = "definition.changed"
    endpoint_id: EndpointId
    server: str
    tool: str
    held: bool
    decided: str | None = None
    """`accepted` by a person, or `reverted`: the server went back to what was accepted."""

    def facts(self) -> dict[str, Any]:
        return {
            "server_id": self.endpoint_id,
            "server": self.server,
            "tool": self.tool,
            "held": self.held,
            "decided": self.decided,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked(DomainEvent):
    """A question waits for a person. What is asked is read by REST, with the scope for it."""

    request_id: RequestId
    server: str
    tool: str
    expires_at: datetime
    group: GroupId | None = None

    def facts(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "server": self.server,
            "tool": self.tool or None,
            "expires_at": self.expires_at.isoformat(),
            "group": self.group,
        }


class SamplingAsked(_Asked):
    name: ClassVar[str] = "sampling_request"


class ElicitationAsked(_Asked):
    name: ClassVar[str] = "elicitation_request"


class ApprovalAsked(_Asked):
    name: ClassVar[str] = "approval_request"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResolved(DomainEvent):
    """A question to a person moved: it was decided, has ended, or has an answer to look over."""

    name: ClassVar[str] = "request.resolved"
    request_id: RequestId
    kind: str
    server: str
    tool: str
    status: str
    by: str
    group: GroupId | None = None

    def facts(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "kind": self.kind,
            "server": self.server,
            "tool": self.tool or None,
            "status": self.status,
            "by": self.by or None,
            "group": self.group,
        }


ASKED = (SamplingAsked.name, ElicitationAsked.name, ApprovalAsked.name)
"""Events that tell of a new question to a person."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the feed. `id` grows without end; it is the SSE id."""

    id: int
    workspace: WorkspaceId
    at: datetime
    name: str
    facts: dict[str, Any]
