"""/api/mcp/servers/{id}/definitions: what was accepted of a server's tools, and what changed."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader, Writer
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.routes.servers import NO_SERVER, ServerId
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.catalog.digest import FieldChange
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.services.catalog.definitions import DefinitionState, ToolReport

router = APIRouter(prefix="/api/mcp/servers/{id}/definitions", tags=["definitions"])

ToolName = Annotated[str, Path(description="The tool's name at its server.")]


class FieldChangeOut(BaseModel):
    """One difference; null stands for what is not there."""

    path: str
    before: str | None
    after: str | None
    risky: bool = Field(
        description="A text, a hint, a property, a demand, or characters that nobody sees."
    )


class DefinitionOut(BaseModel):
    """A tool as it was accepted, and what changed since. Invisible characters are written out."""

    tool: str
    era: Era
    state: DefinitionState = Field(
        description="`held`: neither shown to agents nor callable. `changed`: still in use."
    )
    offered: bool = Field(description="The server offers such a tool now.")
    digest: str
    accepted_at: datetime
    accepted_by: str = Field(description="`first-use`, `policy`, `owner` or the id of a key.")
    pending_digest: str | None = Field(description="To be sent when the change is accepted.")
    pending_since: datetime | None
    changes: list[FieldChangeOut] = Field(description="At most 50, the risky ones first.")


class DefinitionsOut(BaseModel):
    """One tool in each era in which it was accepted apart."""

    items: list[DefinitionOut]


class AcceptIn(Body):
    digest: Annotated[
        str, Field(max_length=128, description="The `pending_digest` that was looked at.")
    ]


@router.get(
    "",
    summary="Compare a server's tools with what was accepted",
    responses=problems(_404=NO_SERVER),
)
async def list_definitions(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
) -> Page[DefinitionOut]:
    """List by tool. Tools that the server offers no more are kept: they may come back changed."""
    rows, cursor = paging.slice(hub.definitions.show(principal, id))
    return Page(items=[_show(row) for row in rows], next_cursor=cursor)


@router.post(
    "/{tool:path}/accept",
    summary="Accept a tool's change",
    responses=problems(
        _404="There is no such server, or it never had such a tool.",
        _409="Another definition waits by now (`definition_moved`): look again.",
    ),
)
async def accept_definition(
    id: ServerId,  # noqa: A002
    tool: ToolName,
    body: AcceptIn,
    hub: HubDep,
    principal: Writer,
) -> DefinitionsOut:
    """Accept exactly the definition that was looked at; the tool is in use again at once."""
    reports = await hub.definitions.accept(principal, id, tool, body.digest)
    return DefinitionsOut(items=[_show(report) for report in reports])


def _show(report: ToolReport) -> DefinitionOut:
    row = report.row
    return DefinitionOut(
        tool=row.tool,
        era=row.era,
        state=report.state,
        offered=report.is_offered,
        digest=row.digest,
        accepted_at=row.accepted_at,
        accepted_by=row.accepted_by,
        pending_digest=row.pending_digest,
        pending_since=row.pending_since,
        changes=[_show_change(change) for change in report.changes],
    )


def _show_change(change: FieldChange) -> FieldChangeOut:
    return FieldChangeOut(
        path=change.path, before=change.before, after=change.after, risky=change.risky
    )
