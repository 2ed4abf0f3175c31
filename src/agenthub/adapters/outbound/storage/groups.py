"""Groups and their members in the database."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ForeignKeyConstraint,
    Integer,
    Row,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text, is_storable
from agenthub.adapters.outbound.storage.faults import FOREIGN_KEY, conflicts
from agenthub.domain.entities.groups import Group, GroupMember
from agenthub.domain.exceptions import ConflictError, NotFoundError
from agenthub.domain.ids import EndpointId, GroupId, WorkspaceId
from agenthub.domain.ports.outbound.storage.groups import GroupRepository

GROUPS = Table(
    "groups",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("workspace", "slug", name="uq_groups_slug"),
)

MEMBERS = Table(
    "group_members",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("endpoint_id", Text, primary_key=True, index=True),
    Column("place", Integer, nullable=False),
    Column("tools", JSON(none_as_null=True)),
    Column("resources", JSON(none_as_null=True)),
    Column("prompts", JSON(none_as_null=True)),
    ForeignKeyConstraint(
        ["workspace", "group_id"],
        ["groups.workspace", "groups.id"],
        name="fk_group_members_group",
        ondelete="CASCADE",
    ),
    ForeignKeyConstraint(
        ["workspace", "endpoint_id"],
        ["endpoints.workspace", "endpoints.id"],
        name="fk_group_members_endpoint",
        ondelete="CASCADE",
    ),
)


class SqlGroupRepository(GroupRepository):
    """A chosen set of items is a sorted JSON list; NULL means all of a kind."""

    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def add(self, group: Group) -> None:
        async with conflicts(self._connection, _conflicts_of(group)):
            row = {"workspace": self._workspace, "id": group.id, **_values(group)}
            await self._connection.execute(insert(GROUPS), row)
            await self._add_members(group)

    async def save(self, group: Group) -> None:
        mine = (MEMBERS.c.workspace == self._workspace, MEMBERS.c.group_id == group.id)
        async with conflicts(self._connection, _conflicts_of(group)):
            statement = update(GROUPS).where(*self._is(group.id)).values(_values(group))
            if (await self._connection.execute(statement)).rowcount == 0:
                raise _missing(group.id)
            await self._connection.execute(delete(MEMBERS).where(*mine))
            await self._add_members(group)

    async def remove(self, group_id: GroupId) -> None:
        if not is_storable(group_id):
            raise _missing(group_id)
        result = await self._connection.execute(delete(GROUPS).where(*self._is(group_id)))
        if result.rowcount == 0:
            raise _missing(group_id)

    async def find(self, id_or_slug: str) -> Group | None:
        if not is_storable(id_or_slug):
            return None
        for column in (GROUPS.c.id, GROUPS.c.slug):
            query = select(GROUPS).where(
                GROUPS.c.workspace == self._workspace, column == id_or_slug
            )
            row = (await self._connection.execute(query)).one_or_none()
            if row is not None:
                return (await self._groups([row]))[0]
        return None

    async def page(self, *, limit: int, after: str | None) -> list[Group]:
        query = select(GROUPS).where(GROUPS.c.workspace == self._workspace)
        if after is not None:
            query = query.where(GROUPS.c.slug > after)
        rows = await self._connection.execute(query.order_by(GROUPS.c.slug).limit(limit))
        return await self._groups(rows.all())

    def _is(self, group_id: GroupId) -> tuple[Any, Any]:
        return GROUPS.c.workspace == self._workspace, GROUPS.c.id == group_id

    async def _add_members(self, group: Group) -> None:
        rows = [
            {
                "workspace": self._workspace,
                "group_id": group.id,
                "endpoint_id": member.endpoint_id,
                "place": place,
                "tools": _listed(member.tools),
                "resources": _listed(member.resources),
                "prompts": _listed(member.prompts),
            }
            for place, member in enumerate(group.members)
        ]
        if rows:
            await self._connection.execute(insert(MEMBERS), rows)

    async def _groups(self, rows: Sequence[Row[Any]]) -> list[Group]:
        query = (
            select(MEMBERS)
            .where(
                MEMBERS.c.workspace == self._workspace,
                MEMBERS.c.group_id.in_([row.id for row in rows]),
            )
            .order_by(MEMBERS.c.place)
        )
        members: dict[str, list[GroupMember]] = defaultdict(list)
        for row in await self._connection.execute(query):
            members[row.group_id].append(_member(row))
        return [self._group(row, tuple(members[row.id])) for row in rows]

    def _group(self, row: Row[Any], members: tuple[GroupMember, ...]) -> Group:
        return Group(
            id=GroupId(row.id),
            workspace=self._workspace,
            slug=row.slug,
            name=row.name,
            description=row.description,
            members=members,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _values(group: Group) -> dict[str, Any]:
    return {
        "slug": group.slug,
        "name": group.name,
        "description": group.description,
        "created_at": group.created_at,
        "updated_at": group.updated_at,
    }


def _member(row: Row[Any]) -> GroupMember:
    return GroupMember(
        endpoint_id=EndpointId(row.endpoint_id),
        tools=_chosen(row.tools),
        resources=_chosen(row.resources),
        prompts=_chosen(row.prompts),
    )


def _listed(chosen: frozenset[str] | None) -> list[str] | None:
    return None if chosen is None else sorted(chosen)


def _chosen(listed: list[str] | None) -> frozenset[str] | None:
    return None if listed is None else frozenset(listed)


def _conflicts_of(group: Group) -> dict[str, ConflictError]:
    return {
        "uq_groups_slug": ConflictError(
            f"There is a group {group.slug!r} already; choose another slug.", code="slug_taken"
        ),
        FOREIGN_KEY: ConflictError(
            "A server of this group was removed meanwhile.", code="server_gone"
        ),
    }


def _missing(group_id: GroupId) -> NotFoundError:
    return NotFoundError(f"There is no group {group_id!r}.", code="group_not_found")
