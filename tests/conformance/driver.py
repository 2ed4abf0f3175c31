"""The hub in the role of the suite's client under test.

    python -m tests.conformance.driver http://localhost:PORT/mcp

The suite starts this with the URL of its own server as last argument. That server is registered
at a hub (the running one of CONFORMANCE_HUB_URL and CONFORMANCE_HUB_TOKEN, else one started for
the purpose), an SDK client does through the hub what the scenario asks for, and the suite judges
what the hub sent to its server.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.support.hub_process import HubConnection, HubProcess

SCENARIO = "MCP_CONFORMANCE_SCENARIO"
REVISION = "MCP_CONFORMANCE_PROTOCOL_VERSION"
CONTEXT = "MCP_CONFORMANCE_CONTEXT"
HUB_URL = "CONFORMANCE_HUB_URL"
HUB_TOKEN = "CONFORMANCE_HUB_TOKEN"  # the name of a variable
CALL_TIMEOUT_S = 30.0

Play = Callable[[Client], Awaitable[None]]
Mode = Literal["legacy", "auto"]


async def fill_in_defaults(
    context: ClientRequestContext, params: types.ElicitRequestParams
) -> types.ElicitResult | types.ErrorData:
    """Accept with the schema's defaults; a yes for what has none."""
    content: dict[str, str | int | float | bool | list[str] | None] = {}
    if isinstance(params, types.ElicitRequestFormParams):
        properties: dict[str, dict[str, Any]] = params.requested_schema.get("properties", {})
        for name, schema in properties.items():
            if "default" in schema:
                content[name] = schema["default"]
            elif schema.get("type") == "boolean":
                content[name] = True
    return types.ElicitResult(action="accept", content=content)


async def say_little(
    context: ClientRequestContext, params: types.CreateMessageRequestParams
) -> types.CreateMessageResult | types.ErrorData:
    content = types.TextContent(type="text", text="little")
    return types.CreateMessageResult(role="assistant", content=content, model="none")


def stand_in(schema: dict[str, Any]) -> object:
    """A value of the schema's type."""
    by_type: dict[str, object] = {
        "integer": 1,
        "number": 1,
        "boolean": True,
        "object": {},
        "array": [],
        "null": None,
    }
    return by_type.get(str(schema.get("type")), "x")


def least_arguments(tool: types.Tool) -> dict[str, object]:
    properties: dict[str, dict[str, Any]] = tool.input_schema.get("properties", {})
    required: list[str] = tool.input_schema.get("required", [])
    return {name: stand_in(properties.get(name, {})) for name in required}


async def list_tools(client: Client) -> None:
    await client.list_tools()


async def add_numbers(client: Client) -> None:
    await client.list_tools()
    await client.call_tool("add_numbers", {"a": 5, "b": 3})


async def fill_form(client: Client) -> None:
    await client.list_tools()
    await client.call_tool("test_client_elicitation_defaults", {})


async def survive_cut_stream(client: Client) -> None:
    await client.list_tools()
    await client.call_tool("test_reconnection", {})


async def use_everything(client: Client) -> None:
    """Send every request that carries routing headers."""
    for tool in (await client.list_tools()).tools:
        await client.call_tool(tool.name, least_arguments(tool))
    for resource in (await client.list_resources()).resources:
        await client.read_resource(resource.uri)
    for prompt in (await client.list_prompts()).prompts:
        wanted = {each.name: "x" for each in prompt.arguments or []}
        await client.get_prompt(prompt.name, wanted)


async def keep_state(client: Client) -> None:
    await client.list_tools()
    for name in ("echo_state", "unrelated", "no_state", "no_result_type"):
        await client.call_tool(f"test_mrtr_{name}", {})


async def call_every_tool(client: Client) -> None:
    """Whatever is offered is called; a refusal is the scenario's business."""
    for tool in (await client.list_tools()).tools:
        try:
            await client.call_tool(tool.name, least_arguments(tool))
        except MCPError as error:
            sys.stderr.write(f"{tool.name}: {error}\n")


async def replay_calls(client: Client) -> None:
    """The suite says which calls to make."""
    offered = {tool.name for tool in (await client.list_tools()).tools}
    for call in json.loads(os.environ[CONTEXT])["toolCalls"]:
        assert call["name"] in offered, f"{call['name']} is missing among {offered}"
        await client.call_tool(call["name"], call["arguments"])


async def echo_schema(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    schema = tools["json_schema_2020_12_tool"].input_schema
    await client.call_tool("json_schema_echo", {"schema": schema})


PLAYS: dict[str, Play] = {
    "initialize": list_tools,
    "tools_call": add_numbers,
    "elicitation-sep1034-client-defaults": fill_form,
    "sse-retry": survive_cut_stream,
    "request-metadata": list_tools,  # its server offers no tool
    "sep-2322-client-request-state": keep_state,
    "http-standard-headers": use_everything,
    "http-custom-headers": replay_calls,
    "http-invalid-tool-headers": call_every_tool,
    "json-schema-ref-no-deref": list_tools,
    "json-schema-2020-12-preservation": echo_schema,
}


@contextmanager
def a_hub() -> Generator[HubConnection]:
    url = os.environ.get(HUB_URL)
    if url:
        yield HubConnection(url, os.environ[HUB_TOKEN])
        return
    with tempfile.TemporaryDirectory() as folder, HubProcess(Path(folder) / "hub") as hub:
        yield hub


@asynccontextmanager
async def an_agent(hub: HubConnection, server: str, mode: Mode) -> AsyncGenerator[Client]:
    """An SDK client of the hub's endpoint for `server`, that can be asked everything but roots."""
    http = httpx2.AsyncClient(headers=hub.headers, timeout=CALL_TIMEOUT_S)
    async with http:
        transport = streamable_http_client(hub.url(f"/servers/{server}/mcp"), http_client=http)
        async with Client(
            transport,
            mode=mode,
            elicitation_callback=fill_in_defaults,
            sampling_callback=say_little,
            read_timeout_seconds=CALL_TIMEOUT_S,
        ) as client:
            yield client


async def play(hub: HubConnection, server: str, mode: Mode, scenario: str) -> None:
    async with an_agent(hub, server, mode) as client:
        await PLAYS[scenario](client)


def main() -> None:
    upstream = sys.argv[-1]
    scenario = os.environ[SCENARIO]
    is_modern = os.environ.get(REVISION) in MODERN_PROTOCOL_VERSIONS
    with a_hub() as hub:
        server = f"suite-{os.getpid()}"
        mode: Mode = "auto" if is_modern else "legacy"
        record = hub.register_http(server, upstream, era=mode)
        sys.stderr.write(f"registered: {json.dumps(record)}\n")
        try:
            asyncio.run(play(hub, server, mode, scenario))
        finally:
            hub.unregister(server)


if __name__ == "__main__":
    main()
