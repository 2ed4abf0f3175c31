"""/api/notifications: who is told of events by webhook, mail or chat."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field, StrictBool

from agenthub.adapters.inbound.http.dependencies import Admin, HubDep, Reader
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.transports import Body, Url
from agenthub.domain.entities.notices.target import (
    DEFAULT_EVENTS,
    EVENTS,
    NoticeTarget,
    TargetKind,
    masked,
)
from agenthub.domain.services.notices.desk import TargetDraft, TargetPatch

router = APIRouter(prefix="/api/notifications", tags=["notifications"])

NO_TARGET = "There is no such notification target."
TAKEN = "The name is taken."
TargetPath = Annotated[str, Path(description="The target's id or name.", max_length=128)]
Name = Annotated[
    str,
    Field(
        max_length=256,
        description="1 to 64 printable characters.",
        json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9 _-]{0,63}$"},
    ),
]
Address = Annotated[
    str,
    Field(
        max_length=8_192,
        description="As Apprise reads it, such as `mailto://user:password@example.com` or "
        "`slack://token/token/token`.",
        json_schema_extra={"pattern": "^(mailtos?|gotifys?|slack|tgram)://[A-Za-z0-9]+/[A-Za-z]+$"},
    ),
]
Secret = Annotated[
    str,
    Field(
        max_length=256,
        description="`whsec_` and 24 to 64 bytes in base64.",
        json_schema_extra={"pattern": "^whsec_[A-Za-z0-9+/]{32}$"},
    ),
]
Event = Annotated[str, Field(max_length=64, json_schema_extra={"enum": list(EVENTS)})]
Events = Annotated[list[Event], Field(min_length=1, max_length=16)]


class _TargetIn(Body):
    name: Name
    events: Events = Field(default_factory=lambda: list(DEFAULT_EVENTS))
    enabled: StrictBool = True


class WebhookIn(_TargetIn):
    """A webhook to notify. It is given a secret if it has none."""

    kind: Literal["webhook"]
    address: Url
    secret: Secret | None = None


class AppriseIn(_TargetIn):
    """A mailbox, chat or phone to notify."""

    kind: Literal["apprise"]
    address: Address


TargetIn = Annotated[WebhookIn | AppriseIn, Field(discriminator="kind")]


class TargetPatchIn(Body):
    """What is to change of a target; what is missing or null stays as it is."""

    name: Name | None = None
    address: Annotated[str, Field(max_length=8_192)] | None = None
    secret: Secret | None = None
    events: Events | None = None
    enabled: StrictBool | None = None


class TargetOut(BaseModel):
    """A target, and how telling it goes. Its address is shown without secrets."""

    id: str
    name: str
    kind: TargetKind
    address: str
    events: list[str]
    enabled: bool
    last_fault: str | None = Field(description="Why the last notice was not taken, if it was not.")
    created_at: datetime
    updated_at: datetime


class NewTargetOut(TargetOut):
    """A target with the secret that signs its notices, which is shown this once."""

    secret: str | None


@router.post(
    "",
    status_code=201,
    summary="Make a notification target",
    responses=problems(_409=TAKEN),
)
async def make_target(
    body: TargetIn, hub: HubDep, principal: Admin, response: Response
) -> NewTargetOut:
    """Have a webhook, mailbox or chat told of events from now on."""
    draft = TargetDraft(
        name=body.name,
        kind=TargetKind(body.kind),
        address=body.address,
        secret=(body.secret or "") if isinstance(body, WebhookIn) else "",
        events=tuple(body.events),
        enabled=body.enabled,
    )
    target = await hub.notices.create(principal, draft)
    response.headers["location"] = f"{router.prefix}/{target.id}"
    response.headers["cache-control"] = "no-store"
    return NewTargetOut(**_show(target).model_dump(), secret=target.secret or None)


@router.get("", summary="List the notification targets")
async def list_targets(hub: HubDep, principal: Reader, paging: PagingDep) -> Page[TargetOut]:
    """List by name."""
    rows = await hub.notices.page(principal, limit=paging.limit + 1, after=paging.after)
    return paging.page(rows, _show, lambda target: target.name)


@router.get("/{id}", summary="Look at a notification target", responses=problems(_404=NO_TARGET))
async def get_target(id: TargetPath, hub: HubDep, principal: Reader) -> TargetOut:  # noqa: A002
    return _show(await hub.notices.get(principal, id))


@router.patch(
    "/{id}",
    summary="Change a notification target",
    responses=problems(_404=NO_TARGET, _409=TAKEN),
)
async def change_target(
    id: TargetPath,  # noqa: A002
    body: TargetPatchIn,
    hub: HubDep,
    principal: Admin,
) -> TargetOut:
    """Change what is given. A target that is enabled again does not hear of what it missed."""
    patch = TargetPatch(
        name=body.name,
        address=body.address,
        secret=body.secret,
        events=None if body.events is None else tuple(body.events),
        enabled=body.enabled,
    )
    return _show(await hub.notices.update(principal, id, patch))


@router.delete(
    "/{id}",
    status_code=204,
    summary="Remove a notification target",
    responses=problems(_404=NO_TARGET),
)
async def remove_target(id: TargetPath, hub: HubDep, principal: Admin) -> None:  # noqa: A002
    await hub.notices.remove(principal, id)


@router.post(
    "/{id}/test",
    status_code=204,
    summary="Send a test notice",
    responses=problems(_404=NO_TARGET, _502="It was not taken; `detail` says why."),
)
async def test_target(id: TargetPath, hub: HubDep, principal: Admin) -> None:  # noqa: A002
    """Send one notice now, once, also to a target that is not enabled."""
    await hub.notices.test(principal, id)


def _show(target: NoticeTarget) -> TargetOut:
    return TargetOut(
        id=target.id,
        name=target.name,
        kind=target.kind,
        address=masked(target.address),
        events=list(target.events),
        enabled=target.enabled,
        last_fault=target.last_fault,
        created_at=target.created_at,
        updated_at=target.updated_at,
    )
