"""/api/mcp/servers: registering servers and looking after them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field, StrictBool

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader, Writer
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.transports import (
    Body,
    TransportIn,
    TransportOut,
    TransportPatch,
    change_transport,
    read_transport,
    show_transport,
)
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.endpoints import ConnectionStatus, Endpoint, Era, EraChoice
from agenthub.domain.entities.monitoring import HealthState
from agenthub.domain.services.endpoints import (
    Diagnosis,
    EndpointDraft,
    EndpointPatch,
    EndpointReport,
)

router = APIRouter(prefix="/api/mcp/servers", tags=["servers"])

NO_SERVER = "There is no such server, or it is not yours to see."
ServerId = Annotated[str, Path(description="The server's id or name.", max_length=128)]
Name = Annotated[
    str,
    Field(
        max_length=128,
        description="Lower case, unique: the part before `__` in the names of its tools.",
        json_schema_extra={"pattern": "^[a-z][a-z0-9-]{0,31}$"},
    ),
]
Tags = Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=64)]


class ServerIn(Body):
    """A server to register."""

    name: Name
    transport: TransportIn
    era: EraChoice = EraChoice.AUTO
    tags: Tags = Field(default_factory=list[str])
    enabled: StrictBool = True


class ServerPatch(Body):
    """What is to change of a server; what is missing or null stays as it is."""

    name: Name | None = None
    transport: TransportPatch | None = None
    era: EraChoice | None = None
    tags: Tags | None = None
    enabled: StrictBool | None = None


class Counts(BaseModel):
    """How much a server offers."""

    tools: int
    resources: int
    resource_templates: int
    prompts: int


class ServerOut(BaseModel):
    """A server, and how it is doing. The values in `env` and `headers` never come back."""

    id: str
    name: str
    status: ConnectionStatus
    health: HealthState = Field(description="What the probes of its own address say.")
    enabled: bool
    era: EraChoice
    eras: list[Era] = Field(description="The protocol eras it has answered in.")
    protocol_version: str | None
    server_info: dict[str, Any] | None
    capabilities: dict[str, Any]
    instructions: str | None
    counts: Counts
    flags: list[str] = Field(
        description="What the hub refused, cut or holds back of its lists, in words."
    )
    last_error: str | None
    tags: list[str]
    transport: TransportOut
    since: datetime | None = Field(description="Since when it has this status.")
    created_at: datetime
    updated_at: datetime


class FindingOut(BaseModel):
    problem: str
    advice: str | None


class DiagnosisOut(BaseModel):
    """What is wrong with a server; nothing found means healthy."""

    name: str
    status: ConnectionStatus
    last_error: str | None
    findings: list[FindingOut]
    output: list[str] = Field(description="Its last lines on stderr; shown to admins only.")


@router.post(
    "",
    status_code=201,
    summary="Register a server",
    responses=problems(
        _409="The name is taken.", _502="With `verify`: it could not be used, nothing was kept."
    ),
)
async def register(
    body: ServerIn,
    hub: HubDep,
    principal: Writer,
    response: Response,
    verify: Annotated[bool, Query(description="Keep it only if it can be used.")] = False,
) -> ServerOut:
    """Keep a server and connect it.

    One that cannot be reached is kept with `last_error` and tried again. A server that starts a
    program needs the scope `admin`.
    """
    draft = EndpointDraft(
        name=body.name,
        transport=read_transport(body.transport),
        era=body.era,
        tags=tuple(body.tags),
        enabled=body.enabled,
    )
    report = await hub.endpoints.register(principal, draft, verify=verify)
    response.headers["location"] = f"{router.prefix}/{report.endpoint.id}"
    return show(hub, report)


@router.get("", summary="List the servers")
async def list_servers(hub: HubDep, principal: Reader, paging: PagingDep) -> Page[ServerOut]:
    """List by name."""
    rows = await hub.endpoints.page(principal, limit=paging.limit + 1, after=paging.after)
    return paging.page(rows, lambda report: show(hub, report), lambda report: report.endpoint.name)


@router.get("/{id}", summary="Look at a server", responses=problems(_404=NO_SERVER))
async def get_server(id: ServerId, hub: HubDep, principal: Reader) -> ServerOut:  # noqa: A002
    return show(hub, await hub.endpoints.get(principal, id))


@router.patch(
    "/{id}",
    summary="Change a server",
    responses=problems(_404=NO_SERVER, _409="The name is taken."),
)
async def change_server(
    id: ServerId,  # noqa: A002
    body: ServerPatch,
    hub: HubDep,
    principal: Writer,
) -> ServerOut:
    """Change what is given and reconnect where that is needed."""
    report = await hub.endpoints.update(principal, id, lambda stored: _patch(stored, body))
    return show(hub, report)


@router.delete(
    "/{id}", status_code=204, summary="Remove a server", responses=problems(_404=NO_SERVER)
)
async def remove_server(id: ServerId, hub: HubDep, principal: Writer) -> None:  # noqa: A002
    """Close it and forget it; groups lose it as a member."""
    await hub.endpoints.remove(principal, id)


@router.post(
    "/{id}/refresh",
    summary="Read a server's lists again",
    responses=problems(
        _404=NO_SERVER,
        _429="The server has had too many requests.",
        _502="The server's answer was no MCP.",
        _504="The server did not answer in time.",
    ),
)
async def refresh_server(id: ServerId, hub: HubDep, principal: Writer) -> ServerOut:  # noqa: A002
    """Read its lists anew; one that is unreachable is tried again first."""
    return show(hub, await hub.endpoints.refresh(principal, id))


@router.get(
    "/{id}/diagnosis", summary="Say what is wrong with a server", responses=problems(_404=NO_SERVER)
)
async def diagnose_server(id: ServerId, hub: HubDep, principal: Reader) -> DiagnosisOut:  # noqa: A002
    return _show_diagnosis(hub, hub.endpoints.diagnose(principal, id))


def show(hub: Hub, report: EndpointReport) -> ServerOut:
    """Show a server as REST clients see it."""
    endpoint, state = report.endpoint, report.state
    return ServerOut(
        id=endpoint.id,
        name=endpoint.name,
        status=state.status,
        health=report.health,
        enabled=endpoint.enabled,
        era=endpoint.era,
        eras=list(state.eras),
        protocol_version=state.protocol_version,
        server_info=state.server_info,
        capabilities=state.capabilities,
        instructions=state.instructions,
        counts=Counts(**report.counts),
        flags=[*report.flags, *map(_held_flag, hub.definitions.held_tools(endpoint.id))],
        last_error=state.last_error,
        tags=list(endpoint.tags),
        transport=show_transport(endpoint.transport),
        since=state.since,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
    )


def _patch(stored: Endpoint, body: ServerPatch) -> EndpointPatch:
    changes = body.transport
    return EndpointPatch(
        name=body.name,
        transport=None if changes is None else change_transport(stored.transport, changes),
        era=body.era,
        tags=None if body.tags is None else tuple(body.tags),
        enabled=body.enabled,
    )


def _held_flag(tool: str) -> str:
    return f"tool {tool[:80]!r} changed since it was accepted and is held back"


def _show_diagnosis(hub: Hub, diagnosis: Diagnosis) -> DiagnosisOut:
    report = diagnosis.report
    advice = f"Look with 'agenthub definitions ls {report.endpoint.name}', then accept or ask."
    held = map(_held_flag, hub.definitions.held_tools(report.endpoint.id))
    return DiagnosisOut(
        name=report.endpoint.name,
        status=report.state.status,
        last_error=report.state.last_error,
        findings=[FindingOut(problem=f.problem, advice=f.advice) for f in diagnosis.findings]
        + [FindingOut(problem=flag, advice=advice) for flag in held],
        output=list(diagnosis.output),
    )
