"""What is kept of policy layers, on every storage."""

from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import ConflictError, InvalidError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.storage.policies import StoredLayer
from tests.contracts.samples import ELSEWHERE, STRANGER, Store, endpoint
from tests.fakes.clock import NEW_YEAR

TIME = EndpointId("E-time")
BODY: dict[str, Any] = {
    "timeout_s": 0.1,
    "calls_per_day": None,
    "price_nano_usd": 10**15,
    "breaker": {"enabled": False, "open_s": 1e-9},
    "fallback": {"tool": "né ☃"},
}


def layer(endpoint_id: str | None = None, tool: str | None = None, **body: Any) -> StoredLayer:
    of = None if endpoint_id is None else EndpointId(endpoint_id)
    return StoredLayer(endpoint_id=of, tool=tool, body=body, updated_at=NEW_YEAR)


async def put(store: Store, *layers: StoredLayer) -> None:
    async with store.uow.begin(OWNER) as tx:
        for one in layers:
            await tx.policies.put(one)
        await tx.commit()


async def kept(store: Store) -> list[StoredLayer]:
    async with store.uow.read(OWNER) as stored:
        return await stored.policies.all()


async def test_layers_come_back_as_they_were_the_hubs_first(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"))
    layers = [
        layer(**BODY),
        layer("E-git", "a/b c", **BODY),
        layer("E-time"),
        layer("E-time", "now", timeout_s=1),
    ]
    await put(store, *reversed(layers))
    assert await kept(store) == layers


async def test_a_layer_replaces_the_one_of_the_same_server_and_tool(store: Store) -> None:
    await store.keep(endpoint("time"))
    await put(store, layer(timeout_s=1), layer("E-time", timeout_s=2), layer("E-time", "now"))
    later = NEW_YEAR.replace(year=2027)
    news = [replace(layer(**BODY), updated_at=later), layer("E-time", retry={"max_retries": 0})]
    await put(store, *news)
    assert await kept(store) == [*news, layer("E-time", "now")]


async def test_a_removed_layer_leaves_the_others(store: Store) -> None:
    await store.keep(endpoint("time"))
    await put(store, layer(), layer("E-time"), layer("E-time", "now"))
    async with store.uow.begin(OWNER) as tx:
        await tx.policies.remove(TIME, None)
        for tool in ("never", "no\x00tool"):
            await tx.policies.remove(TIME, tool)
        await tx.policies.remove(EndpointId("no\x00body"), None)
        await tx.commit()
    assert await kept(store) == [layer(), layer("E-time", "now")]


async def test_layers_go_with_their_server(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"))
    await put(store, layer(), layer("E-time"), layer("E-time", "now"), layer("E-git"))
    async with store.uow.begin(OWNER) as tx:
        await tx.endpoints.remove(TIME)
        await tx.commit()
    assert await kept(store) == [layer(), layer("E-git")]


async def test_a_layer_of_a_missing_server_is_a_conflict_and_changes_nothing(store: Store) -> None:
    await store.keep(endpoint("time", workspace=ELSEWHERE), by=STRANGER)
    async with store.uow.begin(OWNER) as tx:
        await tx.policies.put(layer())
        with pytest.raises(ConflictError) as refused:
            await tx.policies.put(layer("E-time"))
        await tx.commit()
    assert refused.value.code == "server_gone"
    assert await kept(store) == [layer()]


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b"], ids=["NUL", "lone surrogate"])
async def test_unstorable_text_is_refused(store: Store, bad: str) -> None:
    await store.keep(endpoint("time"))
    async with store.uow.begin(OWNER) as tx:
        for one in (
            layer("E-time", bad),
            layer(fallback={"tool": bad}),
            StoredLayer(body={bad: 1}, updated_at=NEW_YEAR),
        ):
            with pytest.raises(InvalidError) as refused:
                await tx.policies.put(one)
            assert refused.value.code == "invalid_text"
        await tx.policies.put(layer())
        await tx.commit()
    assert await kept(store) == [layer()]


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    await put(store, layer(timeout_s=1))
    async with store.uow.begin(STRANGER) as tx:
        assert await tx.policies.all() == []
        await tx.policies.remove(None, None)
        await tx.policies.put(layer(timeout_s=2))
        await tx.commit()
    assert await kept(store) == [layer(timeout_s=1)]


async def test_what_is_not_committed_is_not_kept(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        await tx.policies.put(layer())
    assert await kept(store) == []
