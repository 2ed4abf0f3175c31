"""Who may see which lists: those who may use what is listed, or may read the whole hub."""

from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.identity import OWNER, Scope
from agenthub.domain.ids import EndpointId
from tests.unit.adapters.inbound.mcp.world import World

pytestmark = pytest.mark.anyio
LISTS = {
    "tools/list": Scope.TOOLS_CALL,
    "resources/list": Scope.RESOURCES_READ,
    "resources/templates/list": Scope.RESOURCES_READ,
    "prompts/list": Scope.PROMPTS_GET,
}
ALL = sorted({*LISTS.values(), Scope.HUB_READ, Scope.CHAT})


def key(*scopes: Scope) -> Any:
    return replace(OWNER, subject="key-1", scopes=frozenset(scopes))


@pytest.mark.parametrize("scope", ALL)
@pytest.mark.parametrize("method", LISTS)
async def test_a_list_is_shown_to_those_who_may_use_it_or_read_the_hub(
    world: World, method: str, scope: Scope
) -> None:
    agent = await world.legacy(principal=key(scope))
    old = agent.request(method)
    new = world.modern(method, principal=key(scope))
    answers = [await old.json(), await new.json()]

    expected = 200 if scope in (LISTS[method], Scope.HUB_READ) else 403
    assert (old.status, new.status) == (expected, expected)
    assert ["result" in answer for answer in answers] == [expected == 200] * 2


async def test_changes_are_told_only_of_lists_that_may_be_seen(world: World) -> None:
    wanted = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
    stream = world.modern(
        "subscriptions/listen",
        {"notifications": wanted},
        principal=key(Scope.PROMPTS_GET, Scope.CHAT),
    )

    acknowledged = await stream.message()
    stream.hang_up()

    assert acknowledged["params"]["notifications"] == {"promptsListChanged": True}


async def test_headers_do_not_tell_what_a_tool_that_may_not_be_called_is_like(
    world: World,
) -> None:
    region = {"type": "string", "x-mcp-header": "Region"}
    schema = {"type": "object", "properties": {"region": region}}
    echo = Item(ItemKind.TOOLS, "echo", {"name": "echo", "inputSchema": schema})
    world.client.offer(EndpointId("endpoint-time"), Catalog({ItemKind.TOOLS: (echo,)}))
    call = {"name": "time__echo", "arguments": {"region": "here"}}

    visit = world.modern("tools/call", call, principal=key(Scope.CHAT))

    assert (await visit.json())["error"]["code"] == 1403
    assert visit.status == 403
