"""The one table from events of the hub to what clients of the feed read."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from agenthub.domain.event import (
    ApprovalAsked,
    BreakerChanged,
    BudgetAlerted,
    CatalogChanged,
    CostRecorded,
    DefinitionChanged,
    ElicitationAsked,
    RequestResolved,
    SamplingAsked,
    ServerStatusChanged,
    StoredEvent,
)


class WireEvent(BaseModel, frozen=True):
    """What every event says."""

    type: str
    at: AwareDatetime
    workspace: str


class ServerStatusEvent(WireEvent, frozen=True):
    """A server was registered, changed or removed, or its connection changed."""

    type: Literal["server.status"]
    server_id: str
    server: str
    status: str = Field(
        description="`registered`, `removed`, the status of its connection as a server shows it, "
        "or what its probes say: `unhealthy`, and `healthy` again."
    )
    detail: str | None = None
    instance: str | None = Field(
        default=None, description="Of its further instances, the one that is meant."
    )


class CatalogChangedEvent(WireEvent, frozen=True):
    """What a server or (`server` null) a group offers is no longer what it was."""

    type: Literal["catalog.changed"]
    server: str | None
    kinds: list[str]
    counts: dict[str, int]


class BreakerChangedEvent(WireEvent, frozen=True):
    """A circuit breaker moved; `tool` is null for that of a whole instance."""

    type: Literal["breaker.changed"]
    server_id: str
    server: str
    instance: str
    tool: str | None
    before: str
    state: str
    reason: str
    retry_after_s: float | None = None


class BudgetAlertEvent(WireEvent, frozen=True):
    """A budget's spend passed one of its percents in this period."""

    type: Literal["budget.alert"]
    budget_id: str
    scope: str
    subject: str
    percent: int
    spent_nano_usd: int
    limit_nano_usd: int
    hard_stop: bool
    server: str | None


class CostRecordedEvent(WireEvent, frozen=True):
    """A use that costs was settled; without `cost_nano_usd` its price is unknown."""

    type: Literal["cost.recorded"]
    entry_id: str
    kind: str
    purpose: str
    subject: str
    server: str | None
    tool: str | None
    model: str | None
    status: str
    cost_nano_usd: int | None


class DefinitionChangedEvent(WireEvent, frozen=True):
    """A tool is no longer what was accepted, or is so again."""

    type: Literal["definition.changed"]
    server_id: str
    server: str
    tool: str
    held: bool = Field(description="It is neither shown to agents nor can it be called.")
    decided: str | None = Field(
        description="`accepted` by a person, or `reverted`: what was accepted is back."
    )


class RequestEvent(WireEvent, frozen=True):
    """What every event of a question to a person says; what is asked is read by REST."""

    request_id: str
    server: str
    tool: str | None
    group: str | None = Field(description="The group through which the call came, by its id.")


class SamplingRequestEvent(RequestEvent, frozen=True):
    """A server wants a model's answer, and a person must let it pass."""

    type: Literal["sampling_request"]
    expires_at: AwareDatetime


class ElicitationRequestEvent(RequestEvent, frozen=True):
    """A server asks for input."""

    type: Literal["elicitation_request"]
    expires_at: AwareDatetime


class ApprovalRequestEvent(RequestEvent, frozen=True):
    """A policy holds a tool call back until a person lets it pass."""

    type: Literal["approval_request"]
    expires_at: AwareDatetime


class RequestResolvedEvent(RequestEvent, frozen=True):
    """A question to a person moved: it was decided, has ended, or has an answer to look over."""

    type: Literal["request.resolved"]
    kind: str = Field(description="`sampling`, `elicitation` or `approval`.")
    status: str
    by: str | None = Field(description="Who decided: `owner`, a key's id, or `rule:` with its id.")


class ResyncEvent(WireEvent, frozen=True):
    """Events were missed that are no longer kept: read the state anew."""

    type: Literal["resync"]
    after: int


class ErrorEvent(WireEvent, frozen=True):
    """The stream ends, and why; `code` is that of a problem."""

    type: Literal["error"]
    code: str
    detail: str


WIRE: dict[str, type[WireEvent]] = {
    ApprovalAsked.name: ApprovalRequestEvent,
    BreakerChanged.name: BreakerChangedEvent,
    BudgetAlerted.name: BudgetAlertEvent,
    CatalogChanged.name: CatalogChangedEvent,
    CostRecorded.name: CostRecordedEvent,
    DefinitionChanged.name: DefinitionChangedEvent,
    ElicitationAsked.name: ElicitationRequestEvent,
    RequestResolved.name: RequestResolvedEvent,
    SamplingAsked.name: SamplingRequestEvent,
    ServerStatusChanged.name: ServerStatusEvent,
}
"""Events without a row do not leave the house."""

HubEvent = Annotated[
    ServerStatusEvent
    | CatalogChangedEvent
    | BreakerChangedEvent
    | BudgetAlertEvent
    | CostRecordedEvent
    | DefinitionChangedEvent
    | SamplingRequestEvent
    | ElicitationRequestEvent
    | ApprovalRequestEvent
    | RequestResolvedEvent
    | ResyncEvent
    | ErrorEvent,
    Field(discriminator="type"),
]
HUB_EVENT: TypeAdapter[HubEvent] = TypeAdapter(HubEvent)


def to_wire(event: StoredEvent) -> WireEvent | None:
    """Give an event its public form, None for one that is not for clients."""
    model = WIRE.get(event.name)
    if model is None:
        return None
    given: dict[str, Any] = {"at": event.at, "workspace": event.workspace, "type": event.name}
    return model.model_validate({**event.facts, **given})
