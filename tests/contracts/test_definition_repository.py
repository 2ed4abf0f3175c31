"""What is kept of accepted tool definitions, on every storage."""

from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.storage.definitions import StoredDefinition
from tests.contracts.samples import STRANGER, Store, endpoint
from tests.fakes.clock import NEW_YEAR


def definition(tool: str, server: str = "time", **changes: Any) -> StoredDefinition:
    given: dict[str, Any] = {
        "endpoint_id": EndpointId(f"E-{server}"),
        "era": Era.MODERN,
        "tool": tool,
        "digest": f"digest of {tool}",
        "definition": {"name": tool, "inputSchema": {"type": "object"}},
        "accepted_at": NEW_YEAR,
        "accepted_by": "first-use",
    }
    return StoredDefinition(**{**given, **changes})


PENDING = definition(
    "né",
    definition={"name": "né", "description": "a\x00b\ud800 \U0001f600", "size": 1.5, "none": None},
    pending_digest="other",
    pending={"name": "né", "list": [1, True, {"deep": []}]},
    pending_since=NEW_YEAR,
    held=True,
)


async def put(store: Store, *definitions: StoredDefinition) -> None:
    async with store.uow.begin(OWNER) as tx:
        await tx.definitions.put(list(definitions))
        await tx.commit()


async def kept(store: Store) -> list[StoredDefinition]:
    async with store.uow.read(OWNER) as stored:
        return await stored.definitions.all()


async def test_a_definition_comes_back_as_it_was(store: Store) -> None:
    await store.keep(endpoint("time"))

    await put(store, PENDING, definition("now"))

    assert await kept(store) == [definition("now"), PENDING]


async def test_putting_again_replaces(store: Store) -> None:
    await store.keep(endpoint("time"))
    await put(store, PENDING, definition("now"))
    accepted = replace(PENDING, digest="other", pending=None, pending_digest=None, held=False)

    await put(store, accepted)

    assert await kept(store) == [definition("now"), accepted]


async def test_of_two_of_one_tool_in_one_put_the_last_is_kept(store: Store) -> None:
    await store.keep(endpoint("time"))

    await put(store, definition("now", digest="1"), definition("now", digest="2"))

    assert [one.digest for one in await kept(store)] == ["2"]


async def test_eras_are_kept_apart_and_an_endpoints_go_by_tool_and_era(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"))
    legacy = definition("b", era=Era.LEGACY)
    await put(store, definition("b"), definition("a"), legacy, definition("log", "git"))

    async with store.uow.read(OWNER) as stored:
        assert await stored.definitions.of(EndpointId("E-time")) == [
            definition("a"),
            legacy,
            definition("b"),
        ]
        assert await stored.definitions.of(EndpointId("E-none\x00")) == []


async def test_definitions_of_a_removed_endpoint_go_with_it_and_come_no_more(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"))
    await put(store, definition("now"), definition("log", "git"))
    async with store.uow.begin(OWNER) as tx:
        await tx.endpoints.remove(EndpointId("E-time"))
        await tx.commit()

    await put(store, definition("now"), definition("diff", "git"))

    assert [one.tool for one in await kept(store)] == ["diff", "log"]


async def test_nothing_to_put_changes_nothing(store: Store) -> None:
    await put(store)

    assert await kept(store) == []


async def test_an_unstorable_name_is_refused(store: Store) -> None:
    await store.keep(endpoint("time"))
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(InvalidError) as refused:
            await tx.definitions.put([definition("a\x00b")])
        await tx.definitions.put([definition("now")])
        await tx.commit()
    assert refused.value.code == "invalid_text"


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    await store.keep(endpoint("time"))
    await put(store, definition("now"))

    async with store.uow.begin(STRANGER) as tx:
        await tx.definitions.put([definition("now", digest="forged")])
        assert await tx.definitions.all() == []
        await tx.commit()

    assert await kept(store) == [definition("now")]
