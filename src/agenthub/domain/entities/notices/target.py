"""Who is told of events when nobody looks."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agenthub.domain.event import ASKED
from agenthub.domain.exceptions import FieldFault, InvalidError
from agenthub.domain.ids import NoticeTargetId, WorkspaceId

DEFAULT_EVENTS = (
    "server.status",
    "breaker.changed",
    "budget.alert",
    "definition.changed",
    *ASKED,
)
EVENTS = (*DEFAULT_EVENTS, "catalog.changed", "cost.recorded")
"""Names of hub events that a target may be told of."""

MAX_NAME_CHARS = 64
MAX_ADDRESS_CHARS = 4_096


class TargetKind(StrEnum):
    """A webhook of the operator's own, or any service that Apprise knows (mail, chat, push)."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeTarget:
    """Where notices go. Construction checks name, events and length, and raises InvalidError.

    `address` may hold secrets; `secret` signs webhooks. `events` are names of hub events.
    `cursor` is the last event told.
    """

    id: NoticeTargetId
    workspace: WorkspaceId
    name: str
    kind: TargetKind
    address: str
    secret: str = ""
    events: tuple[str, ...] = DEFAULT_EVENTS
    enabled: bool = True
    cursor: int = 0
    last_fault: str | None = None
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            text = "; ".join(f"{fault.loc[0]}: {fault.message}" for fault in faults)
            raise InvalidError(text, faults=tuple(faults), code="invalid_target")


def masked(address: str) -> str:
    """Show of an address what tells targets apart, and no secret: the scheme, and a web host."""
    scheme, _, rest = address.partition("://")
    if scheme.lower() not in ("http", "https"):
        return f"{scheme}://***"
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}/***"


def _faults(target: NoticeTarget) -> list[FieldFault]:
    faults: list[FieldFault] = []
    if not 0 < len(target.name.strip()) <= MAX_NAME_CHARS or not target.name.isprintable():
        faults.append(FieldFault(("name",), "has 1 to 64 printable characters"))
    if not 0 < len(target.address) <= MAX_ADDRESS_CHARS or not target.address.isprintable():
        faults.append(FieldFault(("address",), "has 1 to 4,096 printable characters"))
    if not target.events:
        faults.append(FieldFault(("events",), "must name an event"))
    faults += [
        FieldFault(("events", place), f"is none of {', '.join(EVENTS)}")
        for place, name in enumerate(target.events)
        if name not in EVENTS
    ]
    return faults
