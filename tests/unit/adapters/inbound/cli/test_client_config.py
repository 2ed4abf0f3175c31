import json

import pytest

from agenthub.adapters.inbound.cli.client_config import read_servers, slug
from agenthub.adapters.inbound.cli.output import Failure


def bodies(data: object, **environment: str) -> list[dict]:
    found, refused = read_servers(json.dumps(data), environment)
    assert refused == []
    return [one.body for one in found]


def test_claude_desktop_and_cursor_entries_are_read() -> None:
    servers = {
        "Time": {"command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "UTC"}},
        "remote": {"url": "https://x.example/mcp", "headers": {"Authorization": "Bearer t"}},
        "old": {"type": "sse", "url": "https://x.example/sse"},
        "off": {"command": "x", "disabled": True},
    }
    time, remote, old, off = bodies({"mcpServers": servers})
    assert time["name"] == "time"
    assert time["transport"] == {
        "type": "stdio",
        "command": "uvx",
        "args": ["mcp-server-time"],
        "env": {"TZ": "UTC"},
        "cwd": None,
    }
    assert remote["transport"]["type"] == "streamable-http"
    assert remote["transport"]["headers"] == {"Authorization": "Bearer t"}
    assert old["transport"]["type"] == "sse"
    assert (time["enabled"], off["enabled"]) == (True, False)


@pytest.mark.parametrize("wrap", [lambda s: {"servers": s}, lambda s: {"mcp": {"servers": s}}])
def test_vs_code_files_are_read(wrap) -> None:
    found = bodies(wrap({"x": {"type": "http", "url": "http://h/mcp"}}))
    assert found[0]["transport"]["url"] == "http://h/mcp"


def test_comments_and_trailing_commas_are_read_over_but_not_inside_texts() -> None:
    text = """{ // servers
      "mcpServers": { /* one */ "a": {"command": "x", "args": ["http://h//y, ]", "/*no*/",],}, },
    }"""
    assert read_servers(text)[0][0].body["transport"]["args"] == ["http://h//y, ]", "/*no*/"]


def test_variables_are_filled_in_from_the_environment() -> None:
    entry = {"command": "x", "args": ["${env:A}", "${B:-b}"], "env": {"T": "${A}-${A}"}}
    transport = bodies({"mcpServers": {"x": entry}}, A="1")[0]["transport"]
    assert transport["args"] == ["1", "b"]
    assert transport["env"] == {"T": "1-1"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "no JSON"),
        ("[]", "No servers"),
        ('{"mcpServers": []}', "No servers"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_configuration_says_so(text: str, word: str) -> None:
    with pytest.raises(Failure, match=word):
        read_servers(text, {})


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        (3, "not an object"),
        ({}, "url"),
        ({"type": "stdio"}, "command"),
        ({"type": "pigeon", "url": "x"}, "pigeon"),
        ({"command": "${NOT_SET}"}, "NOT_SET"),
        ({"command": "${input:key}"}, "asked for by VS Code"),
    ],
)
def test_a_server_that_cannot_be_imported_says_why_and_leaves_the_others(
    entry: object, word: str
) -> None:
    text = json.dumps({"mcpServers": {"bad": entry, "good": {"command": "x"}}})
    found, refused = read_servers(text, {})
    assert [one.original for one in found] == ["good"]
    assert len(refused) == 1
    assert refused[0].startswith("bad: ")
    assert word in refused[0]


def test_names_that_clash_or_cannot_be_are_told() -> None:
    servers = {"a": {"command": "x"}, "A": {"command": "y"}, "!!!": {"command": "z"}}
    found, refused = read_servers(json.dumps({"mcpServers": servers}), {})
    assert [one.original for one in found] == ["a"]
    assert [one.split(":")[0] for one in refused] == ["A", "!!!"]


@pytest.mark.parametrize(
    ("name", "slugged"),
    [("GitHub MCP", "github-mcp"), ("9lives", "lives"), ("a" * 40, "a" * 32), ("x_y.z", "x-y-z")],
)
def test_any_name_becomes_a_server_name(name: str, slugged: str) -> None:
    assert slug(name) == slugged
