"""The table tells the truth about the real servers: it holds without any hub between."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client

from tests.integration.real_servers.conftest import Park
from tests.integration.real_servers.park import Listening, Server
from tests.integration.real_servers.passes import Names, Pass, accept, complete_text
from tests.integration.real_servers.table import SERVERS

pytestmark = [pytest.mark.node, pytest.mark.slow]


def door(server: Server) -> StdioServerParameters | str | AbstractAsyncContextManager[Any]:
    if isinstance(server, Listening):
        return sse_client(server.url) if server.transport == "sse" else server.url
    return StdioServerParameters(
        command=server.command[0], args=server.command[1:], env=dict(server.env)
    )


async def test_every_server_answers_as_the_table_says(park: Park) -> None:
    assert park.servers.keys() == SERVERS.keys()
    complaints: dict[str, list[str]] = {}
    for name, expected in SERVERS.items():
        async with Client(
            door(park.servers[name]),
            mode="auto",
            elicitation_callback=accept,
            sampling_callback=complete_text,
        ) as client:
            words = park.words("direct")
            complaints[name] = await Pass(client, expected, Names(), words).run()
    assert complaints == {name: [] for name in SERVERS}
