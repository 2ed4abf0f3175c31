"""Calls of the command line that wait for a person."""

import json
from typing import Any

import pytest

from tests.unit.adapters.inbound.cli.inbox.kit import Shell, refused

Out = pytest.CaptureFixture[str]
CALL = "/api/mcp/servers/files/tools/write"
TICKET = "/api/tickets/T1"
DONE = {"content": [{"type": "text", "text": "written"}]}


def waiting(*requests: str) -> dict[str, Any]:
    return {
        "status": "waiting",
        "ticket": "T1",
        "server": "files",
        "kinds": ["approval"],
        "requests": list(requests),
        "expires_at": "2026-01-01T00:10:00Z",
    }


def test_a_call_says_what_it_waits_for_and_waits_for_the_outcome(shell: Shell, capsys: Out) -> None:
    shell.rest.will("POST", CALL, waiting("A1"), is_waiting=True)
    shell.rest.will("GET", TICKET, waiting("A1"), waiting(), waiting("A2"), is_waiting=True)
    shell.rest.will("GET", TICKET, DONE)
    assert shell.run("call", "files__write", "path=a") == 0
    said = capsys.readouterr()
    assert said.out == "written\n"
    assert [line.split()[-1] for line in said.err.splitlines()] == ["A1", "A2"]
    assert shell.rest.sent[0] == (f"POST {CALL}", {"arguments": {"path": "a"}})


def test_a_call_need_not_be_waited_for(shell: Shell, capsys: Out) -> None:
    shell.rest.will("POST", CALL, waiting("A1"), is_waiting=True)
    assert shell.run("call", "files__write", "--no-wait") == 0
    said = capsys.readouterr()
    assert said.out == "T1\n"
    assert "agenthub collect T1" in said.err
    shell.rest.will("POST", CALL, waiting("A1"), is_waiting=True)
    assert shell.run("call", "files__write", "--no-wait", "--json") == 0
    assert json.loads(capsys.readouterr().out) == waiting("A1")
    shell.rest.will("GET", TICKET, DONE)
    assert shell.run("collect", "T1") == 0
    assert json.loads(capsys.readouterr().out) == DONE


def test_a_denied_call_fails_with_the_reason(shell: Shell, capsys: Out) -> None:
    shell.rest.will("POST", CALL, waiting("A1"), is_waiting=True)
    shell.rest.will("GET", TICKET, refused(409, "call_denied: not this file"))
    assert shell.run("call", "files__write") == 1
    assert "not this file" in capsys.readouterr().err


def test_an_interrupt_leaves_the_call_to_be_collected(shell: Shell, capsys: Out) -> None:
    shell.rest.will("POST", CALL, waiting("A1"), is_waiting=True)
    shell.rest.will("GET", TICKET, KeyboardInterrupt())
    assert shell.run("call", "files__write") == 1
    assert "agenthub collect T1" in capsys.readouterr().err


def test_prompts_and_resources_wait_as_well(shell: Shell, capsys: Out) -> None:
    shell.rest.will("POST", "/api/mcp/servers/files/prompts/p", waiting("E1"), is_waiting=True)
    shell.rest.will("GET", TICKET, {"messages": []})
    assert shell.run("prompt", "files__p") == 0
    shell.rest.will("GET", "/api/mcp/servers/files/resources/x", waiting("E1"), is_waiting=True)
    shell.rest.will("GET", TICKET, {"contents": [{"text": "hello"}]})
    assert shell.run("read", "files", "x") == 0
    assert capsys.readouterr().out == "hello\n"
