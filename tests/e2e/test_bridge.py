"""Questions cross the bridge: real servers and SDK agents of each era, the hub in between.

No person answers at this hub; with one see test_bridge_people.
"""

from collections.abc import Iterator

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.fixture_process import FixtureProcess, fixture_command
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.e2e

ERAS = ("legacy", "modern")
TRANSPORTS = ("http", "stdio")
MODES = {"legacy": "legacy", "modern": "2026-07-28"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("bridge")
    with (
        HubProcess(folder / "data", env={"AGENTHUB_HITL__ENABLED": "false"}) as hub,
        FixtureProcess(
            "era_server", "--era", "legacy", "--transport", "http", log_dir=folder
        ) as legacy,
        FixtureProcess(
            "era_server", "--era", "modern", "--transport", "http", log_dir=folder
        ) as modern,
    ):
        hub.register_http("legacy-http", legacy.url)
        hub.register_http("modern-http", modern.url)
        for era in ERAS:
            command = fixture_command("era_server", "--era", era, "--transport", "stdio")
            hub.register_stdio(f"{era}-stdio", *command)
        yield hub


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
    hub: HubProcess, server: str, transport: str, agent: str
) -> None:
    async with (
        httpx2.AsyncClient(headers=hub.headers, timeout=30) as http,
        Client(
            streamable_http_client(hub.url("/mcp"), http_client=http),
            mode=MODES[agent],
            elicitation_callback=_answer,
            sampling_callback=_sample,
        ) as client,
    ):
        name = f"{server}-{transport}"
        asked = await client.call_tool(f"{name}__ask_name", {})
        assert "Ada" in _text(asked), asked
        model = await client.call_tool(f"{name}__ask_model", {"prompt": "say something"})
        assert "sampled by the agent" in _text(model), model


@pytest.mark.parametrize("agent", ERAS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("server", ERAS)
async def test_an_agent_that_cannot_answer_gets_a_clear_error(
    hub: HubProcess, server: str, transport: str, agent: str
) -> None:
    async with (
        httpx2.AsyncClient(headers=hub.headers, timeout=30) as http,
        Client(
            streamable_http_client(hub.url("/mcp"), http_client=http), mode=MODES[agent]
        ) as client,
    ):
        try:
            result = await client.call_tool(f"{server}-{transport}__ask_name", {})
        except Exception as error:  # noqa: BLE001 (the SDK raises what the hub answers)
            told = str(error)
        else:
            assert result.is_error
            told = _text(result)
        # A modern server is told by the request itself that the agent cannot be asked.
        expected = "cannot be asked" if server == "modern" else "elicitation"
        assert expected in told.lower()
