"""What is kept of a server's instances, on every storage."""

from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import (
    HttpKind,
    HttpTransport,
    StdioTransport,
    Transport,
)
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.entities.instances import Instance
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, InstanceId
from tests.contracts.samples import ELSEWHERE, STRANGER, Store, endpoint
from tests.fakes.clock import NEW_YEAR

STDIO = StdioTransport(command="srv", args=("-v", "☃"), env={"TOKEN": "s3cret"}, cwd="/srv")
HTTP = HttpTransport(url="http://b.example/mcp", headers={"authorization": "Bearer s3cret"})
SSE = HttpTransport(url="http://b.example/sse", kind=HttpKind.SSE)
TIME = EndpointId("E-time")


def instance(name: str, /, **changes: Any) -> Instance:
    given: dict[str, Any] = {
        "id": InstanceId(EndpointId(f"I-{name}")),
        "workspace": DEFAULT_WORKSPACE,
        "endpoint_id": TIME,
        "created_at": NEW_YEAR,
    }
    return Instance(**{**given, **changes})


async def put(
    store: Store, one: Instance, transport: Transport | None = HTTP, by: Principal = OWNER
) -> None:
    async with store.uow.begin(by) as tx:
        await tx.instances.put(one, transport)
        await tx.commit()


@pytest.mark.parametrize("transport", [STDIO, HTTP, SSE, None])
async def test_an_instance_comes_back_as_it_was(store: Store, transport: Transport | None) -> None:
    await store.keep(endpoint("time"))
    kept = instance("b", weight=1000, priority=100, draining=True)
    await put(store, kept, transport)
    async with store.uow.read(OWNER) as stored:
        assert await stored.instances.of(TIME) == [(kept, transport)]
        assert await stored.instances.all() == [(kept, transport)]


async def test_putting_again_replaces(store: Store) -> None:
    await store.keep(endpoint("time"))
    await put(store, instance("b"), STDIO)
    changed = instance("b", weight=7, draining=True)
    await put(store, changed, HTTP)
    async with store.uow.read(OWNER) as stored:
        assert await stored.instances.all() == [(changed, HTTP)]


async def test_lists_go_by_id_and_know_their_server(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"))
    git = instance("a", endpoint_id=EndpointId("E-git"))
    for one in (instance("c"), git, instance("b")):
        await put(store, one)
    async with store.uow.read(OWNER) as stored:
        assert [one.id for one, _ in await stored.instances.of(TIME)] == ["I-b", "I-c"]
        assert [one.id for one, _ in await stored.instances.all()] == ["I-a", "I-b", "I-c"]


async def test_an_unknown_server_is_a_conflict_and_changes_nothing(store: Store) -> None:
    await store.keep(endpoint("time"))
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(ConflictError) as refused:
            await tx.instances.put(instance("b", endpoint_id=EndpointId("E-gone")), HTTP)
        await tx.instances.put(instance("c"), HTTP)
        assert [one.id for one, _ in await tx.instances.all()] == ["I-c"]
        await tx.commit()
    assert refused.value.code == "server_gone"


async def test_a_removed_server_takes_its_instances_along(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"))
    left = instance("a", endpoint_id=EndpointId("E-git"))
    await put(store, instance("b"))
    await put(store, left)
    async with store.uow.begin(OWNER) as tx:
        await tx.endpoints.remove(TIME)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.instances.all() == [(left, HTTP)]


async def test_a_removed_instance_is_gone(store: Store) -> None:
    await store.keep(endpoint("time"))
    await put(store, instance("b"))
    async with store.uow.begin(OWNER) as tx:
        await tx.instances.remove(instance("b").id)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.instances.all() == []


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        assert await tx.instances.of(EndpointId("nobody")) == []
        assert await tx.instances.of(EndpointId("no\x00body")) == []
        for missing in ("nobody", "no\x00body"):
            with pytest.raises(NotFoundError) as refused:
                await tx.instances.remove(InstanceId(EndpointId(missing)))
            assert refused.value.code == "instance_not_found"


async def test_unstorable_text_is_refused(store: Store) -> None:
    await store.keep(endpoint("time"))
    bad = instance("b", id=InstanceId(EndpointId("a\x00b")))
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(InvalidError) as refused:
            await tx.instances.put(bad, HTTP)
    assert refused.value.code == "invalid_text"


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    await store.keep(endpoint("time"))
    await put(store, instance("b"))
    async with store.uow.begin(STRANGER) as tx:
        assert await tx.instances.all() == []
        assert await tx.instances.of(TIME) == []
        with pytest.raises(NotFoundError):
            await tx.instances.remove(instance("b").id)
        with pytest.raises(ConflictError):
            await tx.instances.put(replace(instance("c"), workspace=ELSEWHERE), HTTP)
