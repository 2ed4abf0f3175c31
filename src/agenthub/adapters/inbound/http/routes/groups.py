"""/api/groups: named sets of servers with MCP endpoints of their own."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader, Writer
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.transports import Body
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.groups import Group, GroupMember
from agenthub.domain.services.groups import GroupDraft, GroupPatch, MemberDraft

router = APIRouter(prefix="/api/groups", tags=["groups"])

NO_GROUP = "There is no such group, or it is not yours to see."
GroupSlug = Annotated[str, Path(description="The group's slug or id.", max_length=128)]
Slug = Annotated[
    str,
    Field(
        max_length=128,
        description="Its part of `/groups/{slug}/mcp`.",
        json_schema_extra={"pattern": "^[a-z][a-z0-9-]{0,31}$"},
    ),
]
Title = Annotated[str, Field(max_length=200)]
Description = Annotated[str, Field(max_length=8_000, description="Agents see it as instructions.")]
Chosen = Annotated[
    list[Annotated[str, Field(max_length=8_192)]] | None,
    Field(max_length=5_000, description="The server's own names or URIs; null means all."),
]


class MemberIn(Body):
    """A server of the group, and what of it; null means all of a kind."""

    server: Annotated[str, Field(max_length=128, description="Its name or id.")]
    tools: Chosen = None
    resources: Chosen = None
    prompts: Chosen = None


Members = Annotated[list[MemberIn], Field(max_length=1_000)]


class GroupIn(Body):
    slug: Slug
    name: Title | None = Field(default=None, description="For people; the slug if missing.")
    description: Description = ""
    members: Members = Field(default_factory=list[MemberIn])


class GroupPatchIn(Body):
    """What is to change; what is missing or null stays. `members` replaces all of them."""

    slug: Slug | None = None
    name: Title | None = None
    description: Description | None = None
    members: Members | None = None


class MemberOut(BaseModel):
    server: str
    server_id: str
    tools: list[str] | None
    resources: list[str] | None
    prompts: list[str] | None


class GroupOut(BaseModel):
    """A group; `endpoint` is the path of its MCP endpoint."""

    id: str
    slug: str
    name: str
    description: str
    endpoint: str
    members: list[MemberOut]
    created_at: datetime
    updated_at: datetime


@router.post(
    "",
    status_code=201,
    summary="Make a group",
    responses=problems(_409="The slug is taken, or a server has just been removed."),
)
async def create_group(
    body: GroupIn, hub: HubDep, principal: Writer, response: Response
) -> GroupOut:
    draft = GroupDraft(
        slug=body.slug,
        name=body.name or body.slug,
        description=body.description,
        members=tuple(map(_draft, body.members)),
    )
    group = await hub.groups.create(principal, draft)
    response.headers["location"] = f"{router.prefix}/{group.id}"
    return _show(hub, group)


@router.get("", summary="List the groups")
async def list_groups(hub: HubDep, principal: Reader, paging: PagingDep) -> Page[GroupOut]:
    """List by slug. A key that is bound to a group sees that one only."""
    rows = await hub.groups.page(principal, limit=paging.limit + 1, after=paging.after)
    return paging.page(rows, lambda group: _show(hub, group), lambda group: group.slug)


@router.get("/{slug}", summary="Look at a group", responses=problems(_404=NO_GROUP))
async def get_group(slug: GroupSlug, hub: HubDep, principal: Reader) -> GroupOut:
    return _show(hub, await hub.groups.get(principal, slug))


@router.patch(
    "/{slug}",
    summary="Change a group",
    responses=problems(_404=NO_GROUP, _409="The slug is taken, or a server has just been removed."),
)
async def change_group(
    slug: GroupSlug, body: GroupPatchIn, hub: HubDep, principal: Writer
) -> GroupOut:
    patch = GroupPatch(
        slug=body.slug,
        name=body.name,
        description=body.description,
        members=None if body.members is None else tuple(map(_draft, body.members)),
    )
    return _show(hub, await hub.groups.update(principal, slug, patch))


@router.delete(
    "/{slug}", status_code=204, summary="Remove a group", responses=problems(_404=NO_GROUP)
)
async def remove_group(slug: GroupSlug, hub: HubDep, principal: Writer) -> None:
    """Forget a group; keys that are bound to it are revoked."""
    await hub.groups.remove(principal, slug)


def _draft(member: MemberIn) -> MemberDraft:
    return MemberDraft(
        server=member.server,
        tools=_chosen(member.tools),
        resources=_chosen(member.resources),
        prompts=_chosen(member.prompts),
    )


def _chosen(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _show(hub: Hub, group: Group) -> GroupOut:
    return GroupOut(
        id=group.id,
        slug=group.slug,
        name=group.name,
        description=group.description,
        endpoint=f"/groups/{group.slug}/mcp",
        members=[_show_member(hub, member) for member in group.members],
        created_at=group.created_at,
        updated_at=group.updated_at,
    )


def _show_member(hub: Hub, member: GroupMember) -> MemberOut:
    return MemberOut(
        server=hub.groups.server_name(member.endpoint_id),
        server_id=member.endpoint_id,
        tools=_listed(member.tools),
        resources=_listed(member.resources),
        prompts=_listed(member.prompts),
    )


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
