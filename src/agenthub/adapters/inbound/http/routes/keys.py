"""/api/keys: keys for agents and programs."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.dependencies import Admin, HubDep
from agenthub.adapters.inbound.http.moments import Moment
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.transports import Body
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.identity import ApiKey, Scope
from agenthub.domain.services.identity import KeyDraft

router = APIRouter(prefix="/api/keys", tags=["keys"])

NO_KEY = "There is no such key."
KeyPath = Annotated[str, Path(description="The key's id.", max_length=128)]


class KeyIn(Body):
    """A key to make. It may do no more than the token it is made with."""

    name: Annotated[str, Field(max_length=256, description="1 to 64 printable characters.")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=64)]
    group: Annotated[
        str | None, Field(max_length=128, description="It then sees this group and nothing else.")
    ] = None
    expires_at: Moment | None = None


class KeyOut(BaseModel):
    """A key. `prefix` is the beginning of its secret, to tell keys apart."""

    id: str
    name: str
    prefix: str
    scopes: list[Scope]
    group: str | None
    created_at: datetime
    expires_at: datetime | None


class NewKeyOut(KeyOut):
    """A key with its secret, which is shown this once; only a hash is kept."""

    secret: str


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    responses=problems(_409="The group has just been removed."),
)
async def make_key(body: KeyIn, hub: HubDep, principal: Admin, response: Response) -> NewKeyOut:
    draft = KeyDraft(
        name=body.name,
        scopes=frozenset(body.scopes),
        group=body.group,
        expires_at=body.expires_at,
    )
    key, secret = await hub.identity.make_key(principal, draft)
    response.headers["location"] = f"{router.prefix}/{key.id}"
    response.headers["cache-control"] = "no-store"
    return NewKeyOut(**_facts(hub, key), secret=secret)


@router.get("", summary="List the keys")
async def list_keys(hub: HubDep, principal: Admin, paging: PagingDep) -> Page[KeyOut]:
    """List, oldest first."""
    rows = await hub.identity.page(principal, limit=paging.limit + 1, after=paging.after)
    return paging.page(rows, lambda key: KeyOut(**_facts(hub, key)), lambda key: key.id)


@router.get("/{id}", summary="Look at a key", responses=problems(_404=NO_KEY))
async def get_key(id: KeyPath, hub: HubDep, principal: Admin) -> KeyOut:  # noqa: A002
    return KeyOut(**_facts(hub, await hub.identity.find(principal, id)))


@router.delete("/{id}", status_code=204, summary="Revoke a key", responses=problems(_404=NO_KEY))
async def revoke_key(id: KeyPath, hub: HubDep, principal: Admin) -> None:  # noqa: A002
    """Revoke it: it opens nothing from now on."""
    await hub.identity.revoke(principal, id)


def _facts(hub: Hub, key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "group": hub.identity.group_slug(key),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    }
