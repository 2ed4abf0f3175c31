"""Tools, resources and prompts: what servers offer, and using it without MCP."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from agenthub.adapters.inbound.http.bodies import members_of
from agenthub.adapters.inbound.http.calling import WaitingOut, carry
from agenthub.adapters.inbound.http.dependencies import (
    HubDep,
    PromptGetter,
    Reader,
    ResourceReader,
    ToolCaller,
)
from agenthub.adapters.inbound.http.listing import Definition, ToolEntry, items_of, tools_of
from agenthub.adapters.inbound.http.openapi import Responses, problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.routes.servers import NO_SERVER, ServerId
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.ports.outbound.mcp_client import RawObject
from agenthub.domain.services.calls import Deed, Errand

router = APIRouter(prefix="/api/mcp/servers/{id}", tags=["tools, resources, prompts"])
catalog_router = APIRouter(prefix="/api/tools", tags=["tools, resources, prompts"])

CALLED: Responses = {
    202: {
        "model": WaitingOut,
        "description": "A person is asked; collect the outcome with the ticket.",
    },
    **problems(
        _404="There is no such server or item, or the server does not have such a thing at all.",
        _409="The server asks what nobody here can answer, or a person said no.",
        _410="A person was asked, and nobody answered in time.",
        _429="The server has had too many requests.",
        _502="The server answered with an error (`rpc_code` says which), or not with MCP.",
        _504="The server did not answer in time.",
    ),
}
LISTED = problems(_404=NO_SERVER)
MAX_WAIT_S = 3_600
WaitS = Annotated[
    float | None,
    Query(
        ge=0,
        le=MAX_WAIT_S,
        description="How long to wait for a person before a ticket is given, in seconds; "
        "`AGENTHUB_HITL__HOLD_S` where this is absent. It bounds nothing else.",
    ),
]


class ArgumentsIn(Body):
    """Arguments as the tool's input schema wants them."""

    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class PromptArgumentsIn(Body):
    """A prompt's arguments are texts."""

    arguments: dict[str, str] = Field(default_factory=dict[str, str])


class PromptRef(Body):
    type: Literal["ref/prompt"]
    name: str


class ResourceRef(Body):
    type: Literal["ref/resource"]
    uri: str = Field(description="A resource template.")


class ArgumentIn(Body):
    """The argument that is being written, and its text so far."""

    name: str
    value: str


class ContextIn(Body):
    """Arguments that have been filled in already."""

    arguments: dict[str, str] = Field(default_factory=dict[str, str])


class CompleteIn(Body):
    ref: Annotated[PromptRef | ResourceRef, Field(discriminator="type")]
    argument: ArgumentIn
    context: ContextIn | None = None


class Result(BaseModel):
    """A result as the server gave it; MCP says what else may be in it."""

    model_config = ConfigDict(extra="allow")


class CallResult(Result):
    """The result of a tool. With `isError` the tool itself failed, and says why."""


class ReadResult(Result):
    """The contents of a resource."""


class PromptResult(Result):
    """A prompt's messages."""


class CompleteResult(Result):
    """Suggestions for the argument."""


@catalog_router.get("", summary="Search all tools", response_model=Page[ToolEntry])
async def list_tools(
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
    query: Annotated[
        str | None,
        Query(
            max_length=1_000,
            description="Words to look for. The ranking is lexical: it compares words of names, "
            "titles and descriptions, and gives a score from 0 to 1.",
        ),
    ] = None,
) -> Page[dict[str, Any]]:
    """List every tool under its name at `/mcp`; with `query` those that fit, best first."""
    return tools_of(hub, principal, query, paging)


@router.get("/tools", summary="List tools", responses=LISTED, response_model=Page[Definition])
async def list_server_tools(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
) -> Page[dict[str, Any]]:
    return items_of(hub, principal, id, ItemKind.TOOLS, paging)


@router.post(
    "/tools/{tool:path}", summary="Call a tool", responses=CALLED, response_model=CallResult
)
async def call_tool(
    id: ServerId,  # noqa: A002
    tool: Annotated[str, Path(description="The tool's name at its server.")],
    body: ArgumentsIn,
    request: Request,
    hub: HubDep,
    principal: ToolCaller,
    wait_s: WaitS = None,
) -> Response:
    """Call a tool and wait for its result, which comes back as the server gave it."""
    given = {"arguments": b"{}", **members_of(request.scope)}
    return await carry(hub, request, principal, id, Errand(Deed.CALL_TOOL, tool, given), wait_s)


@router.get(
    "/resources", summary="List resources", responses=LISTED, response_model=Page[Definition]
)
async def list_resources(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
) -> Page[dict[str, Any]]:
    return items_of(hub, principal, id, ItemKind.RESOURCES, paging)


@router.get(
    "/resource-templates",
    summary="List resource templates",
    responses=LISTED,
    response_model=Page[Definition],
)
async def list_templates(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
) -> Page[dict[str, Any]]:
    return items_of(hub, principal, id, ItemKind.TEMPLATES, paging)


@router.get(
    "/resources/{uri:path}", summary="Read a resource", responses=CALLED, response_model=ReadResult
)
async def read_resource(
    id: ServerId,  # noqa: A002
    uri: Annotated[str, Path(description="The server's own URI, percent-encoded.")],
    request: Request,
    hub: HubDep,
    principal: ResourceReader,
    wait_s: WaitS = None,
) -> Response:
    errand = Errand(Deed.READ_RESOURCE, uri, RawObject())
    return await carry(hub, request, principal, id, errand, wait_s)


@router.get("/prompts", summary="List prompts", responses=LISTED, response_model=Page[Definition])
async def list_prompts(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
) -> Page[dict[str, Any]]:
    return items_of(hub, principal, id, ItemKind.PROMPTS, paging)


@router.post(
    "/prompts/{name:path}",
    summary="Render a prompt",
    responses=CALLED,
    response_model=PromptResult,
)
async def render_prompt(
    id: ServerId,  # noqa: A002
    name: Annotated[str, Path(description="The prompt's name at its server.")],
    body: PromptArgumentsIn,
    request: Request,
    hub: HubDep,
    principal: PromptGetter,
    wait_s: WaitS = None,
) -> Response:
    given = {"arguments": b"{}", **members_of(request.scope)}
    return await carry(hub, request, principal, id, Errand(Deed.GET_PROMPT, name, given), wait_s)


@router.post(
    "/complete",
    summary="Complete an argument",
    responses=CALLED,
    response_model=CompleteResult,
)
async def complete(
    id: ServerId,  # noqa: A002
    body: CompleteIn,
    request: Request,
    hub: HubDep,
    principal: PromptGetter,
) -> Response:
    """Suggest values for an argument of a prompt or of a resource template."""
    return await carry(hub, request, principal, id, _completing(body, members_of(request.scope)))


def _completing(body: CompleteIn, given: RawObject) -> Errand:
    match body.ref:
        case PromptRef():
            return Errand(Deed.COMPLETE, body.ref.name, given, ref=ItemKind.PROMPTS)
        case ResourceRef():
            return Errand(Deed.COMPLETE, body.ref.uri, given, ref=ItemKind.TEMPLATES)
