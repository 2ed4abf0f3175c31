"""Arguments that travel in headers: they name and inject no header of their own."""

from typing import Any

import pytest

from tests.security.upstreams import WatchedUpstream, tool
from tests.security.wire import Target, refused
from tests.support.fault_mcp import ECHO, Eras

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
Json = dict[str, Any]


EVIL_HEADERS = ["Evil\r\nX-Injected: 1", "Evil\nX", "Evil: x", "", "Ev il", "Évil", 1, None, ["A"]]


@pytest.mark.parametrize("header", EVIL_HEADERS, ids=repr)
def test_tool_whose_header_name_breaks_the_rules_is_withheld(hub: Target, header: object) -> None:
    region = {"type": "string", "x-mcp-header": header}
    schema = {"type": "object", "properties": {"region": region}}
    with WatchedUpstream(tool("evil", schema), ECHO, eras=Eras.MODERN) as server:
        hub.hub.register_http("headed", server.url)
        try:
            listed = hub.modern("tools/list").message()["result"]["tools"]
            names = {one["name"] for one in listed if one["name"].startswith("headed__")}
            assert names == {"headed__echo"}
            assert refused(hub.call("headed__evil", {"region": "x"}))
        finally:
            hub.hub.unregister("headed")
        assert server.calls() == []
        assert not [one for one in server.exchanges if "x-injected" in one.headers]


@pytest.mark.parametrize(
    "value",
    ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "\r\n\r\n", "ä", "a\x00b", " a ", "=?base64?"],
)
def test_value_that_travels_in_a_header_injects_no_other(hub: Target, value: str) -> None:
    region = {"type": "string", "x-mcp-header": "Region"}
    schema = {"type": "object", "properties": {"region": region}}
    with WatchedUpstream(tool("go", schema), eras=Eras.MODERN) as server:
        hub.hub.register_http("regional", server.url)
        try:
            rest = hub.ask("POST", f"{SERVERS}/regional/tools/go", {"arguments": {"region": value}})
        finally:
            hub.hub.unregister("regional")
        assert rest.status < 500
        for exchange in server.calls():
            assert exchange.message["params"]["arguments"] == {"region": value}
            assert "x-injected" not in exchange.headers
            assert "mcp-param-region" in exchange.headers
