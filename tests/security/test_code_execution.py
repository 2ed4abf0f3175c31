"""Registrations that start programs: who may, with which words, and what the program gets."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.security.conftest import ENV_SECRET, SEALING_KEY
from tests.security.upstreams import WatchedUpstream
from tests.security.wire import Target, text_of

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
REPORT = (
    "import json, os, sys;"
    "json.dump({'argv': sys.argv[1:], 'env': dict(os.environ), 'cwd': os.getcwd()},"
    " open(sys.argv[1], 'w'))"
)
"""A program that writes down how it was started, and ends."""

Json = dict[str, Any]


class Reporter:
    """A stdio transport whose program reports into a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "report.json"

    def transport(self, *args: str, **more: object) -> Json:
        command = ["-I", "-S", "-c", REPORT, str(self._path), *args]
        return {"type": "stdio", "command": sys.executable, "args": command, **more}

    @property
    def was_started(self) -> bool:
        return self._path.exists()

    def report(self) -> Json:
        return json.loads(self._path.read_text())


@pytest.fixture
def reporter(tmp_path: Path) -> Reporter:
    return Reporter(tmp_path)


@pytest.fixture
def dormant(hub: Target, reporter: Reporter) -> Iterator[str]:
    """The name of a registered program that is not running."""
    body = {"name": "dormant", "transport": reporter.transport(), "enabled": False}
    assert hub.ask("POST", SERVERS, body).status == 201
    yield "dormant"
    hub.hub.unregister("dormant")


WRITER = ("hub:read", "hub:write", "tools:call", "resources:read", "prompts:get", "chat")


def test_only_an_admin_starts_programs(hub: Target, reporter: Reporter) -> None:
    key = hub.key(*WRITER)
    body = {"name": "sneaky", "transport": reporter.transport()}
    for query in ("", "?verify=true", "?verify=false"):
        reply = hub.ask("POST", SERVERS + query, body, token=key)
        assert (reply.status, reply.json()["code"]) == (403, "stdio_needs_admin")
    assert not reporter.was_started
    assert hub.ask("GET", f"{SERVERS}/sneaky").status == 404


def test_no_change_of_a_server_gets_around_that(
    hub: Target, reporter: Reporter, dormant: str
) -> None:
    key = hub.key(*WRITER)
    outer = {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"}
    body = {"name": "turning", "transport": outer, "enabled": False}
    assert hub.ask("POST", SERVERS, body, token=key).status == 201
    try:
        for name, change in (
            ("turning", {"transport": reporter.transport()}),
            ("turning", {"transport": reporter.transport(), "enabled": True}),
            (dormant, {"enabled": True}),
            (dormant, {"transport": outer}),
            (dormant, {"tags": ["mine"]}),
            (dormant, {"name": "renamed"}),
        ):
            assert hub.ask("PATCH", f"{SERVERS}/{name}", change, token=key).status == 403, change
        hub.ask("POST", f"{SERVERS}/{dormant}/refresh", token=key, may_fail=True)
    finally:
        hub.hub.unregister("turning")
    assert not reporter.was_started
    assert hub.ask("GET", f"{SERVERS}/{dormant}").json()["enabled"] is False


def test_key_of_a_group_starts_no_program_even_as_admin(hub: Target, reporter: Reporter) -> None:
    hub.hub.rest("POST", "/api/groups", {"slug": "empty", "name": "Empty", "members": []})
    try:
        key = hub.key("admin", group="empty")
        body = {"name": "sneaky", "transport": reporter.transport()}
        assert hub.ask("POST", SERVERS, body, token=key).status == 403
    finally:
        hub.hub.rest("DELETE", "/api/groups/empty")
    assert not reporter.was_started


def test_arguments_reach_the_program_as_they_are(
    hub: Target, reporter: Reporter, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    words = [
        f"; touch {mark}",
        f"$(touch {mark})",
        f"`touch {mark}`",
        f"| touch {mark}",
        f"&& touch {mark}",
        f"a\ntouch {mark}",
        "$AGENTHUB_OWNER_TOKEN",
        "${AGENTHUB_SECRET_KEY}",
        "%AGENTHUB_OWNER_TOKEN%",
        "${env:AWS_SECRET_ACCESS_KEY}",
        "{{ ''.__class__.__mro__ }}",
        "~",
        "*",
        "",
    ]
    body = {"name": "words", "transport": reporter.transport(*words)}
    hub.ask("POST", SERVERS, body)
    hub.hub.unregister("words")
    assert reporter.report()["argv"][1:] == words
    assert not mark.exists()


@pytest.mark.parametrize(
    "command", ["{python} -c pass", "sh -c 'touch {mark}'", "$(touch {mark})", "; touch {mark}"]
)
def test_command_is_the_name_of_a_program_and_no_line_for_a_shell(
    hub: Target, tmp_path: Path, command: str
) -> None:
    mark = tmp_path / "executed"
    line = command.format(python=sys.executable, mark=mark)
    body = {"name": "line", "transport": {"type": "stdio", "command": line}}
    reply = hub.ask("POST", SERVERS, body)
    if reply.status == 201:
        assert reply.json()["status"] == "unreachable"
        hub.hub.unregister("line")
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"command": ""},
        {"command": " "},
        {"command": "sh\n-c"},
        {"command": "sh\x00"},
        {"command": None},
        {"command": ["sh"]},
        {"args": ["a\x00b"]},
        {"args": "-c pass"},
        {"args": [1]},
        {"args": [None]},
        {"args": {"0": "a"}},
        {"env": {"A": "a\x00b"}},
        {"env": {"A=B": "a"}},
        {"env": {"": "a"}},
        {"env": {"A\nB": "a"}},
        {"env": {"A": 1}},
        {"env": ["A=B"]},
        {"cwd": "relative"},
        {"cwd": "../.."},
        {"cwd": "/tmp\x00"},
        {"args": ["\ud800"]},
        {"shell": True},
    ],
    ids=repr,
)
def test_words_that_no_program_can_be_started_with_are_refused(
    hub: Target, reporter: Reporter, change: Json
) -> None:
    body = {"name": "odd", "transport": {**reporter.transport(), **change}}
    reply = hub.ask("POST", SERVERS, body)
    if reply.status == 201:
        hub.hub.unregister("odd")
    assert reply.status in (400, 422), reply
    assert not reporter.was_started


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "DYLD_INSERT_LIBRARIES",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONHOME",
        "PATH",
        "BASH_ENV",
        "ENV",
        "PERL5OPT",
        "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
        "ld_preload",
        "Node_Options",
        "path",
    ],
)
@pytest.mark.parametrize("way", ["register", "change"])
def test_variables_that_turn_a_program_into_another_are_refused(
    hub: Target, reporter: Reporter, dormant: str, name: str, way: str
) -> None:
    transport = reporter.transport(env={name: "/tmp/evil"})
    if way == "register":
        reply = hub.ask("POST", SERVERS, {"name": "loaded", "transport": transport})
    else:
        change = {"transport": transport, "enabled": True}
        reply = hub.ask("PATCH", f"{SERVERS}/{dormant}", change)
    assert reply.status == 422, reply
    assert any(name in map(str, error["loc"]) for error in reply.json()["errors"])
    assert not reporter.was_started


def test_program_gets_nothing_of_the_hubs_own_environment(hub: Target, reporter: Reporter) -> None:
    transport = reporter.transport(env={"API_KEY": "key-of-the-server-4711"})
    hub.ask("POST", SERVERS, {"name": "environs", "transport": transport})
    hub.hub.unregister("environs")
    env = reporter.report()["env"]
    assert env["API_KEY"] == "key-of-the-server-4711"
    hubs = [name for name in env if name.startswith(("AGENTHUB_", "AWS_", "COVERAGE_"))]
    assert hubs in ([], ["AGENTHUB_CHILD_OF"]), "the mark by which orphans are found is no secret"
    for secret in (hub.hub.token, ENV_SECRET, SEALING_KEY):
        assert secret not in env.values()


def test_program_gets_no_open_file_of_the_hub(hub: Target, tmp_path: Path) -> None:
    report = tmp_path / "files"
    code = (
        "import os, sys;"
        "names = [f'{n} ' + os.readlink(f'/proc/self/fd/{n}') for n in range(3, 512)"
        " if os.path.lexists(f'/proc/self/fd/{n}')];"
        "open(sys.argv[1], 'w').write('\\n'.join(names))"
    )
    args = ["-I", "-S", "-c", code, str(report)]
    transport = {"type": "stdio", "command": sys.executable, "args": args}
    hub.ask("POST", SERVERS, {"name": "files", "transport": transport})
    hub.hub.unregister("files")
    inherited = [line for line in report.read_text().splitlines() if "/proc/" not in line]
    assert not [line for line in inherited if "agenthub" in line or "socket:" in line], inherited


def test_template_in_a_call_is_text(hub: Target, watched: WatchedUpstream) -> None:
    for text in ("{{ ''.__class__ }}", "${AGENTHUB_OWNER_TOKEN}", "{0.__class__}", "%(x)s"):
        assert text_of(hub.call("watched__echo", {"message": text})) == text
        reply = hub.ask("POST", f"{SERVERS}/watched/tools/echo", {"arguments": {"message": text}})
        assert reply.json()["content"][0]["text"] == text
