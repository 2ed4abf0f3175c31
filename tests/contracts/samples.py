"""A store under test, and valid things to put into it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agenthub.domain.entities.endpoints import Endpoint, StdioTransport
from agenthub.domain.entities.groups import Group, GroupMember
from agenthub.domain.entities.identity import ALL_SCOPES, OWNER, ApiKey, Principal, Scope
from agenthub.domain.event import ServerStatusChanged
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId, KeyId, WorkspaceId
from agenthub.domain.ports.outbound.storage.identity import KeyLookup
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from tests.fakes.clock import NEW_YEAR, FakeClock
from tests.fakes.event_bus import FakeEventBus

ELSEWHERE = WorkspaceId("elsewhere")
STRANGER = Principal(ELSEWHERE, "owner", ALL_SCOPES)


@dataclass(frozen=True)
class Store:
    uow: UnitOfWork
    lookup: KeyLookup
    bus: FakeEventBus
    clock: FakeClock

    async def keep(self, *things: Endpoint | Group | ApiKey, by: Principal = OWNER) -> None:
        """Add `things` in one committed transaction."""
        async with self.uow.begin(by) as tx:
            for thing in things:
                match thing:
                    case Endpoint():
                        await tx.endpoints.add(thing)
                    case Group():
                        await tx.groups.add(thing)
                    case ApiKey():
                        await tx.keys.add(thing)
            await tx.commit()

    async def tell(self, *words: str, by: Principal = OWNER) -> None:
        """Emit one event per word in one committed transaction."""
        async with self.uow.begin(by) as tx:
            for word in words:
                tx.emit(status_event(word, workspace=by.workspace, at=self.clock.now()))
            await tx.commit()


def endpoint(name: str, /, **changes: Any) -> Endpoint:
    given: dict[str, Any] = {
        "id": EndpointId(f"E-{name}"),
        "workspace": DEFAULT_WORKSPACE,
        "name": name,
        "transport": StdioTransport(command="mcp-server-time"),
        "created_at": NEW_YEAR,
        "updated_at": NEW_YEAR,
    }
    return Endpoint(**{**given, **changes})


def group(slug: str, members: Iterable[GroupMember | str] = (), /, **changes: Any) -> Group:
    given: dict[str, Any] = {
        "id": GroupId(f"G-{slug}"),
        "workspace": DEFAULT_WORKSPACE,
        "slug": slug,
        "name": slug.title(),
        "description": "",
        "members": tuple(
            GroupMember(endpoint_id=EndpointId(f"E-{m}")) if isinstance(m, str) else m
            for m in members
        ),
        "created_at": NEW_YEAR,
        "updated_at": NEW_YEAR,
    }
    return Group(**{**given, **changes})


def api_key(name: str, /, **changes: Any) -> ApiKey:
    given: dict[str, Any] = {
        "id": KeyId(f"K-{name}"),
        "workspace": DEFAULT_WORKSPACE,
        "name": name,
        "prefix": "ahk_1234",
        "secret_sha256": f"hash of {name}",
        "scopes": frozenset({Scope.TOOLS_CALL, Scope.HUB_READ}),
        "group": None,
        "created_at": NEW_YEAR,
        "expires_at": None,
    }
    return ApiKey(**{**given, **changes})


def status_event(
    status: str, *, workspace: WorkspaceId = DEFAULT_WORKSPACE, at: datetime = NEW_YEAR
) -> ServerStatusChanged:
    return ServerStatusChanged(
        workspace=workspace,
        at=at,
        endpoint_id=EndpointId("E-time"),
        server="time",
        status=status,
    )
