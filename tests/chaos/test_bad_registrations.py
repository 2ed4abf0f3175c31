"""A registration that cannot work is refused or kept with its reason, never half."""

import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.support.fault_http import HttpFault
from tests.support.fault_stdio import FaultyStdio, StdioFault
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess, RestAnswer
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e]

SERVERS = "/api/mcp/servers"
PROBLEM = "application/problem+json"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def hub(make_hub: Callable[..., HubProcess]) -> Generator[HubProcess]:
    with make_hub(AGENTHUB_UPSTREAM__SETTLE_TIMEOUT_S="5") as hub:
        yield hub


@pytest.fixture(scope="module")
def web_server() -> Generator[McpUpstream]:
    """A plain web server: it answers everything, with a page."""
    with McpUpstream() as server:
        server.fault = HttpFault.HTML
        yield server


def http(url: str) -> Json:
    return {"type": "streamable-http", "url": url}


def stdio(command: str, *args: str) -> Json:
    return {"type": "stdio", "command": command, "args": list(args)}


def names(hub: HubProcess) -> list[str]:
    return [one["name"] for one in hub.rest("GET", f"{SERVERS}?limit=200").body["items"]]


def assert_problem(answer: RestAnswer, status: int, code: str) -> None:
    assert answer.status == status, answer
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert headers["content-type"].startswith(PROBLEM), headers
    assert answer.body["status"] == status
    assert answer.body["code"] == code, answer.body
    assert answer.body["detail"], answer.body


BAD_TRANSPORTS = {
    "no scheme": (http("127.0.0.1:9/mcp"), "url"),
    "a file": (http("file:///etc/passwd"), "url"),
    "gopher": (http("gopher://127.0.0.1/1"), "url"),
    "no host": (http("http:///mcp"), "url"),
    "a password": (http("http://me:secret-word@127.0.0.1/mcp"), "url"),
    "a line break": (http("http://127.0.0.1/mcp\r\nX-Evil: 1"), "url"),
    "a port too high": (http("http://127.0.0.1:99999/mcp"), "url"),
    "no command": (stdio(""), "command"),
    "a loader variable": ({**stdio("echo"), "env": {"LD_PRELOAD": "/x.so"}}, "LD_PRELOAD"),
    "a header that is the hub's": ({**http("http://127.0.0.1/"), "headers": {"Host": "x"}}, "Host"),
}


@pytest.mark.parametrize("what", BAD_TRANSPORTS)
def test_transport_that_breaks_a_rule_names_the_field(hub: HubProcess, what: str) -> None:
    transport, field = BAD_TRANSPORTS[what]
    answer = hub.rest("POST", SERVERS, {"name": "wrong", "transport": transport})
    assert_problem(answer, 422, "invalid_server")
    assert any(field in [str(part) for part in error["loc"]] for error in answer.body["errors"])
    assert "secret-word" not in str(answer.body)
    assert "secret-word" not in hub.log()
    assert "wrong" not in names(hub)


def test_argument_with_a_nul_is_no_body_the_hub_reads(hub: HubProcess) -> None:
    body = {"name": "wrong", "transport": stdio("echo", "a\x00b")}
    assert_problem(hub.rest("POST", SERVERS, body), 400, "invalid_json")
    assert "wrong" not in names(hub)


@pytest.mark.parametrize("name", ["", "Upper", "1st", "a" * 33, "a_b", "a b", "a\n", "ä"])
def test_name_that_breaks_the_rule_is_refused(hub: HubProcess, name: str) -> None:
    answer = hub.rest("POST", SERVERS, {"name": name, "transport": http("http://127.0.0.1:9/")})
    assert answer.status == 422
    assert any("name" in error["loc"] for error in answer.body["errors"]), answer.body


def cases(web_server: McpUpstream) -> dict[str, tuple[Json, str]]:
    """Transports that lead nowhere, and a word that the reason must have."""
    nobody = free_port()
    return {
        "nobody-listens": (http(f"http://127.0.0.1:{nobody}/mcp"), str(nobody)),
        "web-page": (http(web_server.url), "text/html"),
        "no-command": (stdio("no-such-command-anywhere"), "no-such-command-anywhere"),
        "no-folder": ({**stdio(sys.executable), "cwd": "/no/such/folder"}, "/no/such/folder"),
        "no-mcp": (stdio(sys.executable, "-I", "-S", "-c", "print('hello')"), ""),
        "metadata": (http("http://169.254.169.254/latest/meta-data"), "169.254.169.254"),
        "wrong-host": (http("http://no-such-host.invalid/mcp"), "no-such-host.invalid"),
    }


CASES = (
    "nobody-listens",
    "web-page",
    "no-command",
    "no-folder",
    "no-mcp",
    "metadata",
    "wrong-host",
)


@pytest.mark.parametrize("case", CASES)
def test_server_that_cannot_be_reached_is_kept_with_its_reason(
    hub: HubProcess, web_server: McpUpstream, case: str
) -> None:
    transport, word = cases(web_server)[case]
    answer = hub.rest("POST", SERVERS, {"name": case, "transport": transport})
    try:
        assert answer.status == 201, answer
        assert answer.body["status"] == "unreachable", answer.body
        assert word in answer.body["last_error"], answer.body
        assert case in hub.log(), "the log does not say which server failed"
    finally:
        hub.unregister(case)
    assert case not in names(hub)


@pytest.mark.parametrize("case", CASES)
def test_verify_refuses_such_a_server_and_keeps_nothing(
    hub: HubProcess, web_server: McpUpstream, case: str
) -> None:
    transport, word = cases(web_server)[case]
    name = f"sure-{case}"
    answer = hub.rest("POST", f"{SERVERS}?verify=true", {"name": name, "transport": transport})
    assert_problem(answer, 502, "server_unreachable")
    assert word in answer.body["detail"], answer.body
    assert name not in names(hub)
    assert hub.rest("GET", f"{SERVERS}/{name}").status == 404
    assert name in hub.log(), "the log does not say why"


async def test_verify_leaves_no_process_of_a_refused_server(
    hub: HubProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = FaultyStdio(tmp_path_factory.mktemp("stdio"))
    server.plant(StdioFault.HANG)
    try:
        body = {"name": "hangs", "transport": server.transport}
        answer = hub.rest("POST", f"{SERVERS}?verify=true", body)
        assert_problem(answer, 502, "server_unreachable")
        await eventually(lambda: not server.processes())
        assert "hangs" not in names(hub)
    finally:
        server.end_all()


def test_taken_name_is_refused_and_the_first_server_untouched(hub: HubProcess) -> None:
    first = {"name": "taken", "transport": http("http://127.0.0.1:9/one"), "enabled": False}
    second = {"name": "taken", "transport": http("http://127.0.0.1:9/two"), "enabled": False}
    made = hub.rest("POST", SERVERS, first)
    assert made.status == 201
    try:
        for query in ("", "?verify=true"):
            assert_problem(hub.rest("POST", SERVERS + query, second), 409, "name_taken")
        kept = hub.rest("GET", f"{SERVERS}/taken").body
        assert (kept["id"], kept["transport"]["url"]) == (made.body["id"], "http://127.0.0.1:9/one")
    finally:
        hub.unregister("taken")
