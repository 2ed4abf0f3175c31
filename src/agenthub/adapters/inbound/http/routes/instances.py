"""/api/mcp/servers/{id}/instances: further addresses of a server that share its calls."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field, StrictBool

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader, Writer
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.transports import (
    Body,
    TransportIn,
    TransportOut,
    read_transport,
    show_transport,
)
from agenthub.domain.entities.endpoints import ConnectionStatus
from agenthub.domain.entities.instances import MAX_PRIORITY, MAX_WEIGHT
from agenthub.domain.services.instances.service import (
    InstanceDraft,
    InstancePatch,
    InstanceReport,
)

router = APIRouter(prefix="/api/mcp/servers/{id}/instances", tags=["servers"])

NO_SERVER = "There is no such server, or it is not yours to see."
NO_INSTANCE = "There is no such server or instance, or it is not yours to see."
ServerId = Annotated[str, Path(description="The server's id or name.", max_length=128)]
InstanceIdIn = Annotated[str, Path(description="The instance's id.", max_length=128)]
Weight = Annotated[
    int, Field(strict=True, ge=1, le=MAX_WEIGHT, description="Its part of its priority's calls.")
]
Priority = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=MAX_PRIORITY,
        description="0 is used first, a higher one when those before it cannot be used.",
    ),
]


class InstanceIn(Body):
    """An address that offers the same tools as the server."""

    transport: TransportIn
    weight: Weight = 1
    priority: Priority = 0


class InstancePatchIn(Body):
    """What is to change of an instance; what is missing or null stays as it is."""

    weight: Weight | None = None
    priority: Priority | None = None
    draining: StrictBool | None = Field(
        default=None, description="Whether it finishes its calls and takes no new ones."
    )


class InstanceOut(BaseModel):
    """An instance, and how it is doing. The one with the server's id is its own address."""

    id: str
    transport: TransportOut
    weight: int
    priority: int
    draining: bool
    status: ConnectionStatus
    last_error: str | None
    differs: str | None = Field(
        description="Why it gets no calls: how its tools differ from its server's."
    )
    created_at: datetime


class InstanceList(BaseModel):
    items: list[InstanceOut]


@router.get("", summary="List a server's instances", responses=problems(_404=NO_SERVER))
async def list_instances(id: ServerId, hub: HubDep, principal: Reader) -> InstanceList:  # noqa: A002
    """List all, the server's own address first."""
    return InstanceList(items=[_show(report) for report in hub.instances.of(principal, id)])


@router.post(
    "",
    status_code=201,
    summary="Add an instance",
    responses=problems(
        _404=NO_SERVER,
        _409="The server has too many instances, or has just been removed.",
        _422="A field breaks a rule, or its tools differ from the server's; nothing was kept.",
        _502="It could not be used; nothing was kept.",
    ),
)
async def add_instance(
    id: ServerId,  # noqa: A002
    body: InstanceIn,
    hub: HubDep,
    principal: Writer,
    response: Response,
) -> InstanceOut:
    """Connect an address, and keep it if its tools are those of the server.

    One that starts a program needs the scope `admin`.
    """
    draft = InstanceDraft(
        transport=read_transport(body.transport), weight=body.weight, priority=body.priority
    )
    report = await hub.instances.add(principal, id, draft)
    instance = report.instance
    response.headers["location"] = (
        f"/api/mcp/servers/{instance.endpoint_id}/instances/{instance.id}"
    )
    return _show(report)


@router.get("/{instance}", summary="Look at an instance", responses=problems(_404=NO_INSTANCE))
async def get_instance(
    id: ServerId,  # noqa: A002
    instance: InstanceIdIn,
    hub: HubDep,
    principal: Reader,
) -> InstanceOut:
    return _show(hub.instances.get(principal, id, instance))


@router.patch(
    "/{instance}",
    summary="Change an instance",
    responses=problems(_404=NO_INSTANCE, _409="The server has just been removed."),
)
async def change_instance(
    id: ServerId,  # noqa: A002
    instance: InstanceIdIn,
    body: InstancePatchIn,
    hub: HubDep,
    principal: Writer,
) -> InstanceOut:
    """Change its part of the calls, or have it drain; it stays connected."""
    patch = InstancePatch(weight=body.weight, priority=body.priority, draining=body.draining)
    return _show(await hub.instances.update(principal, id, instance, patch))


@router.delete(
    "/{instance}",
    status_code=204,
    summary="Remove an instance",
    responses=problems(_404=NO_INSTANCE, _409="It is the server's own address."),
)
async def remove_instance(
    id: ServerId,  # noqa: A002
    instance: InstanceIdIn,
    hub: HubDep,
    principal: Writer,
) -> None:
    """Let it finish its calls for a while, then close and forget it."""
    await hub.instances.remove(principal, id, instance)


def _show(report: InstanceReport) -> InstanceOut:
    instance = report.instance
    return InstanceOut(
        id=instance.id,
        transport=show_transport(report.transport),
        weight=instance.weight,
        priority=instance.priority,
        draining=instance.draining,
        status=report.state.status,
        last_error=report.last_error,
        differs=report.differs,
        created_at=instance.created_at,
    )
