"""The one table from events of the hub to what clients of the feed read."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from agenthub.domain.event import CatalogChanged, ServerStatusChanged, StoredEvent


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
        description="`registered`, `removed`, or the status of its connection as a server shows it."
    )
    detail: str | None = None


class CatalogChangedEvent(WireEvent, frozen=True):
    """What a server or (`server` null) a group offers is no longer what it was."""

    type: Literal["catalog.changed"]
    server: str | None
    kinds: list[str]
    counts: dict[str, int]


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
    CatalogChanged.name: CatalogChangedEvent,
    ServerStatusChanged.name: ServerStatusEvent,
}
"""Events without a row do not leave the house."""

HubEvent = Annotated[
    ServerStatusEvent | CatalogChangedEvent | ResyncEvent | ErrorEvent,
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
