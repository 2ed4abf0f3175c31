"""Everything of every real server is usable through /mcp by an agent of Google's ADK.

ADK's toolset knows tools and resources, no prompts.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.adk.agents import LlmAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.sessions import InMemorySessionService
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
from google.adk.tools.tool_context import ToolContext

from tests.integration.real_servers.conftest import Park
from tests.integration.real_servers.passes import Names, accept, complete_text
from tests.integration.real_servers.table import SERVERS, Expected, filled
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.node, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def no_google_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """ADK looks for credentials in Google's cloud before it connects, unless told not to."""
    monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "false")


async def a_context() -> ToolContext:
    """What ADK hands to a tool in the course of a conversation."""
    sessions = InMemorySessionService()
    session = await sessions.create_session(app_name="test", user_id="somebody")
    invocation = InvocationContext(
        session_service=sessions,
        invocation_id="one",
        agent=LlmAgent(name="agent"),
        session=session,
    )
    return ToolContext(invocation, function_call_id="one")


@asynccontextmanager
async def a_toolset(url: str, headers: Mapping[str, str]) -> AsyncGenerator[McpToolset]:
    toolset = McpToolset(
        connection_params=StreamableHTTPConnectionParams(url=url, headers=dict(headers)),
        elicitation_callback=accept,
        sampling_callback=complete_text,
    )
    try:
        yield toolset
    finally:
        await toolset.close()


async def use_tools(
    tools: Mapping[str, Any], expected: Expected, names: Names, words: Mapping[str, str]
) -> list[str]:
    """What was wrong, one line each."""
    complaints: list[str] = []
    context = await a_context()
    for call in expected.calls:
        name = names.name(call.tool)
        answer = await tools[name].run_async(
            args=filled(call.arguments, words), tool_context=context
        )
        said = json.dumps(answer, ensure_ascii=False, default=str)
        failed = bool(answer.get("isError")) or "error" in answer
        if failed != call.is_error or filled(call.says, words) not in said:
            complaints.append(f"{name}: {said}")
    return complaints


async def test_adk_uses_every_tool(park: Park, hub: HubProcess) -> None:
    words = park.words("adk")
    complaints: dict[str, list[str]] = {}
    async with a_toolset(hub.url("/mcp"), hub.headers) as toolset:
        tools = {tool.name: tool for tool in await toolset.get_tools()}
        for name, expected in SERVERS.items():
            complaints[name] = await use_tools(tools, expected, Names(name), words)
    assert complaints == {name: [] for name in SERVERS}


async def test_adk_reads_every_resource(hub: HubProcess) -> None:
    async with a_toolset(hub.url("/mcp"), hub.headers) as toolset:
        listed = await toolset.list_resources()
        for name in listed:
            assert await toolset.read_resource(name), name
    assert len(listed) >= sum(len(expected.resources) for expected in SERVERS.values())
