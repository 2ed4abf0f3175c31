"""Everything of every real server is usable through /mcp by the Python SDK's client."""

from typing import Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.integration.real_servers.conftest import Park
from tests.integration.real_servers.passes import Names, Pass, accept, complete_text
from tests.integration.real_servers.table import SERVERS
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.node, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]

TIMEOUT_S = 30.0


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_sdk_client_uses_everything(
    mode: Literal["legacy", "2026-07-28"], park: Park, hub: HubProcess
) -> None:
    words = park.words(f"sdk_{mode[:4]}")
    complaints: dict[str, list[str]] = {}
    async with httpx2.AsyncClient(headers=hub.headers, timeout=TIMEOUT_S) as http:
        transport = streamable_http_client(hub.url("/mcp"), http_client=http)
        async with Client(
            transport,
            mode=mode,
            elicitation_callback=accept,
            sampling_callback=complete_text,
            read_timeout_seconds=TIMEOUT_S,
        ) as client:
            for name, expected in SERVERS.items():
                complaints[name] = await Pass(client, expected, Names(name), words).run()
    assert complaints == {name: [] for name in SERVERS}
