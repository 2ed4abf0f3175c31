"""Standing answers, listed, made and revoked."""

import json
from typing import Any

import pytest

from agenthub.adapters.inbound.cli.commands.rules import condition_of
from agenthub.adapters.inbound.cli.output import WrongUse
from tests.unit.adapters.inbound.cli.inbox.kit import Shell, refused

Out = pytest.CaptureFixture[str]
POLICIES, SAMPLING = "/api/policies", "/api/sampling/rules"
POLICY: dict[str, Any] = {
    "id": "P1",
    "name": "mails",
    "action": "ask",
    "server": "mail",
    "tool": "",
    "annotations": {"destructiveHint": True},
    "arguments": [{"path": "to", "comparison": "not_matches", "value": "*@example.com"}],
    "callers": ["owner"],
    "conversation": "",
    "priority": 1,
    "enabled": True,
    "created_by": "owner",
    "revoked_at": None,
    "revoked_by": "",
}
RULE: dict[str, Any] = {
    "id": "M1",
    "server": "notes",
    "model": "gpt-*",
    "daily_usd": "0.50",
    "max_tokens": None,
    "created_by": "owner",
    "revoked_at": "2026-01-01T00:00:00Z",
    "revoked_by": "key-1",
}


def page(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": None}


def test_rules_of_both_kinds_are_listed(shell: Shell, capsys: Out) -> None:
    for _ in range(2):
        shell.rest.will("GET", POLICIES, page(POLICY))
        shell.rest.will("GET", SAMPLING, page(RULE))
    assert shell.run("rules", "ls", "--all") == 0
    said = capsys.readouterr().out
    assert 'destructiveHint=true; to not_matches "*@example.com"; caller owner' in said
    assert "revoked by key-1" in said
    assert shell.run("rules", "ls", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["policies"], found["sampling"]) == ([POLICY], [RULE])


def test_no_rules_are_said(shell: Shell, capsys: Out) -> None:
    shell.rest.will("GET", POLICIES, page())
    shell.rest.will("GET", SAMPLING, page())
    assert shell.run("rules", "ls") == 0
    assert "no rules" in capsys.readouterr().out


def test_a_rule_for_calls_is_made(shell: Shell, capsys: Out) -> None:
    shell.rest.will("POST", POLICIES, POLICY)
    condition = "to not_matches *@example.com"
    words = ("--server", "mail", "--hint", "destructiveHint=true", "--argument", condition)
    assert shell.run("rules", "add", "ask", *words, "--caller", "owner", "--priority", "1") == 0
    ((_, body),) = shell.rest.sent
    made = {name: POLICY[name] for name in body}
    assert body == made | {"name": "ask mail/*"}
    assert capsys.readouterr().out == "P1\n"


def test_a_rule_for_models_is_made(shell: Shell) -> None:
    shell.rest.will("POST", SAMPLING, RULE)
    assert shell.run("rules", "add-sampling", "notes", "gpt-*", "--daily-usd", "0.50") == 0
    body = {"server": "notes", "model": "gpt-*", "daily_usd": "0.50"}
    assert shell.rest.sent == [(f"POST {SAMPLING}", body)]


def test_a_rule_is_revoked_by_its_id_alone(shell: Shell, capsys: Out) -> None:
    shell.rest.will("DELETE", f"{POLICIES}/M1", refused(404, "rule_not_found"))
    shell.rest.will("DELETE", f"{SAMPLING}/M1", None)
    assert shell.run("rules", "rm", "M1") == 0
    assert "M1 is revoked." in capsys.readouterr().out
    assert shell.run("rules", "rm", "X") == 1


def test_a_rule_that_may_not_be_revoked_says_so(shell: Shell, capsys: Out) -> None:
    shell.rest.will("DELETE", f"{POLICIES}/P1", refused(403, "insufficient_scope"))
    assert shell.run("rules", "rm", "P1") == 1
    assert "insufficient_scope" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("never",), ("ask", "--hint", "x"), ("ask", "--argument", "to")])
def test_rules_that_make_no_sense_are_refused(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell.run("rules", "add", *words) == 2


@pytest.mark.parametrize(
    ("words", "comparison", "value"),
    [
        ("size more_than 10", "more_than", 10),
        ("to equals Ada Lovelace", "equals", "Ada Lovelace"),
        ('to equals "7"', "equals", "7"),
        ("cc exists", "exists", True),
        ("cc exists false", "exists", False),
    ],
)
def test_a_condition_is_read(words: str, comparison: str, value: Any) -> None:
    path = words.split()[0]
    assert condition_of(words) == {"path": path, "comparison": comparison, "value": value}


def test_a_condition_without_a_comparison_is_refused() -> None:
    with pytest.raises(WrongUse):
        condition_of(" size ")
