"""The inbox as it changes."""

import json

import pytest

from agenthub.adapters.inbound.cli.output import Failure
from tests.unit.adapters.inbound.cli.inbox.kit import Shell, refused

Out = pytest.CaptureFixture[str]
NEW = {"type": "approval_request", "request_id": "A1"}
END = {"type": "request.resolved", "request_id": "A1", "status": "rejected", "by": "owner"}
OTHER = {"type": "server.status", "server": "files", "status": "ready"}
CUT = Failure("No hub answers.")


def test_each_question_is_told_once(shell: Shell, capsys: Out) -> None:
    shell.asks_form()
    shell.rest.clock.advance(1)
    shell.asks_approval()
    shell.rest.feeds = [[None, OTHER, NEW, None, END, KeyboardInterrupt()]]
    assert shell.run("inbox", "watch") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["E1", "A1", "A1"]
    assert "agenthub inbox answer E1" in said[0]
    assert "files/write" in said[1]
    assert said[2] == "A1  is rejected by owner"


def test_a_question_that_was_answered_meanwhile_is_not_told(shell: Shell, capsys: Out) -> None:
    shell.asks_approval(status="approved")
    shell.rest.feeds = [[None, NEW, KeyboardInterrupt()]]
    assert shell.run("inbox", "watch") == 0
    assert capsys.readouterr().out == ""


def test_an_answer_to_look_over_is_told(shell: Shell, capsys: Out) -> None:
    shell.asks_model(status="approved", in_review=True, result={})
    event = {**END, "request_id": "S1", "status": "approved", "by": None}
    shell.rest.feeds = [[event, KeyboardInterrupt()]]
    assert shell.run("inbox", "watch") == 0
    assert "S1  has an answer to review" in capsys.readouterr().out


def test_a_restart_of_the_hub_is_waited_for(shell: Shell, capsys: Out) -> None:
    shell.asks_approval()
    shell.rest.feeds = [[None, CUT], [CUT], [None, KeyboardInterrupt()]]
    assert shell.run("inbox", "watch") == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "Trying again" in said.err
    assert shell.person.pauses == 2


@pytest.mark.parametrize("fault", [CUT, refused(401, "unauthorized")])
def test_a_hub_that_cannot_be_followed_fails(shell: Shell, fault: Failure) -> None:
    shell.rest.feeds = [[fault]]
    assert shell.run("inbox", "watch") == 1


def test_a_token_that_ends_ends_the_watch(shell: Shell) -> None:
    shell.rest.feeds = [[None, refused(401, "unauthorized")]]
    assert shell.run("inbox", "watch") == 1


def test_json_is_one_object_a_line(shell: Shell, capsys: Out) -> None:
    shell.asks_approval()
    shell.rest.feeds = [[None, END, KeyboardInterrupt()]]
    assert shell.run("inbox", "watch", "--json") == 0
    asked, ended = map(json.loads, capsys.readouterr().out.splitlines())
    assert (asked["id"], ended["request_id"]) == ("A1", "A1")
