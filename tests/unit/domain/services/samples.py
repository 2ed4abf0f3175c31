"""Endpoints, groups and items for tests: the id of `x` is `id-x`."""

from dataclasses import replace
from datetime import UTC, datetime

from agenthub.domain.entities.catalog.listing import IDENTITY_FIELD, Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import Endpoint, HttpTransport
from agenthub.domain.entities.groups import Group, GroupMember
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.entities.instances import Instance, own_instance
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def endpoint(name: str, *, id: str | None = None, enabled: bool = True) -> Endpoint:  # noqa: A002
    return Endpoint(
        id=EndpointId(id or f"id-{name}"),
        workspace=DEFAULT_WORKSPACE,
        name=name,
        transport=HttpTransport(url="http://127.0.0.1:9/mcp"),
        enabled=enabled,
        created_at=AT,
        updated_at=AT,
    )


def own(of: Endpoint) -> Instance:
    """Give the instance that a server has by itself."""
    return own_instance(of.id, of.workspace, of.created_at)


def group(slug: str, *servers: str, members: tuple[GroupMember, ...] = ()) -> Group:
    plain = tuple(GroupMember(endpoint_id=EndpointId(f"id-{name}")) for name in servers)
    return Group(
        id=GroupId(f"id-{slug}"),
        workspace=DEFAULT_WORKSPACE,
        slug=slug,
        name=slug,
        description="",
        members=plain + members,
        created_at=AT,
        updated_at=AT,
    )


def item(kind: ItemKind, key: str) -> Item:
    return Item(kind, key, {IDENTITY_FIELD[kind]: key})


def catalog(**keys: list[str]) -> Catalog:
    """Make a catalogue: `catalog(tools=["add"], resources=["demo://a"])`."""
    return Catalog(
        {ItemKind(k): tuple(item(ItemKind(k), key) for key in v) for k, v in keys.items()}
    )


def bound_to(slug: str) -> Principal:
    return replace(OWNER, subject="key", group=GroupId(f"id-{slug}"))


def with_scopes(*scopes: Scope) -> Principal:
    return replace(OWNER, subject="key", scopes=frozenset(scopes))
