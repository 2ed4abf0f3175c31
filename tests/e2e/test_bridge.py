"""Questions cross the bridge: real servers and SDK agents of each era, the hub in between.

No person answers at this hub; with one see test_bridge_people.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.bridge import ERAS, TRANSPORTS, bridged
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.e2e

MODES = {"legacy": "legacy", "modern": "2026-07-28"}
Agents = dict[tuple[str, bool], Client]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("bridge")
    hub = HubProcess(folder / "data", env={"AGENTHUB_HITL__ENABLED": "false"})
    with bridged(hub, "era_server", folder):
        yield hub


@pytest.fixture(scope="module")
async def agents(hub: HubProcess) -> AsyncIterator[Agents]:
    """One of each era that can be asked, and one that cannot."""
    async with AsyncExitStack() as stack:
        http = httpx2.AsyncClient(headers=hub.headers, timeout=30)
        await stack.enter_async_context(http)
        agents: Agents = {}
        for era in ERAS:
            for able in (True, False):
                client = Client(
                    streamable_http_client(hub.url("/mcp"), http_client=http),
                    mode=MODES[era],
                    elicitation_callback=_answer if able else None,
                    sampling_callback=_sample if able else None,
                )
                agents[era, able] = await stack.enter_async_context(client)
        yield agents


async def _answer(context: object, params: object) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


async def _sample(context: object, params: object) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled by the agent")
    return types.CreateMessageResult(role="assistant", model="m", content=content)


def _text(result: types.CallToolResult) -> str:
    return " ".join(block.text for block in result.content if isinstance(block, types.TextContent))


@pytest.mark.parametrize("agent", ERAS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("server", ERAS)
async def test_a_question_reaches_the_agent_and_its_answer_the_server(
    agents: Agents, server: str, transport: str, agent: str
) -> None:
    client, name = agents[agent, True], f"{server}-{transport}"
    asked = await client.call_tool(f"{name}__ask_name", {})
    assert "Ada" in _text(asked), asked
    model = await client.call_tool(f"{name}__ask_model", {"prompt": "say something"})
    assert "sampled by the agent" in _text(model), model


@pytest.mark.parametrize("agent", ERAS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("server", ERAS)
async def test_an_agent_that_cannot_answer_gets_a_clear_error(
    agents: Agents, server: str, transport: str, agent: str
) -> None:
    try:
        result = await agents[agent, False].call_tool(f"{server}-{transport}__ask_name", {})
    except Exception as error:  # noqa: BLE001 (the SDK raises what the hub answers)
        told = str(error)
    else:
        assert result.is_error
        told = _text(result)
    # A modern server is told by the request itself that the agent cannot be asked.
    expected = "cannot be asked" if server == "modern" else "elicitation"
    assert expected in told.lower()
