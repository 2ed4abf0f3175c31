"""Questions answered by options, and lists: what scripts use."""

import io
import json
from pathlib import Path

import pytest

from agenthub.adapters.inbound.cli.output import clean
from tests.unit.adapters.inbound.cli.inbox.kit import ANSWER, Shell, refused

Out = pytest.CaptureFixture[str]


def test_a_form_is_given_by_name_in_its_own_types(shell: Shell) -> None:
    shell.asks_form()
    words = ("--set", "name=7", "--set", "seats=3", "--set", "food=fish,meat")
    assert shell.run("inbox", "answer", "E1", "--accept", *words) == 0
    content = {"name": "7", "seats": 3, "food": ["fish", "meat"]}
    assert shell.rest.sent == [("E1 respond", {"action": "accept", "content": content})]


def test_a_form_is_given_as_json(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.asks_form()
    monkeypatch.setattr("sys.stdin", io.StringIO('{"name": "Ada", "seats": 1}'))
    words = ("--json-content", "-", "--set", "seats=4")
    assert shell.run("inbox", "answer", "E1", "--accept", *words) == 0
    assert shell.rest.sent[0][1]["content"] == {"name": "Ada", "seats": 4}


@pytest.mark.parametrize("deed", ["decline", "cancel"])
def test_a_form_is_refused(shell: Shell, deed: str) -> None:
    shell.asks_form()
    assert shell.run("inbox", "answer", "E1", f"--{deed}") == 0
    assert shell.rest.sent == [("E1 respond", {"action": deed})]


def test_an_address_is_printed_behind_a_yes(shell: Shell, capsys: Out) -> None:
    shell.asks_visit()
    assert shell.run("inbox", "answer", "U1", "--accept") == 0
    assert "Open it yourself: https://shop.example" in capsys.readouterr().out
    assert shell.person.visited == []


def test_a_call_passes_with_other_arguments(shell: Shell, tmp_path: Path) -> None:
    shell.asks_approval()
    file = tmp_path / "arguments.json"
    file.write_text('{"path": "b"}')
    words = ("--approve", "--always", "--arguments", str(file))
    assert shell.run("inbox", "answer", "A1", *words) == 0
    assert shell.rest.sent == [("A1 approve", {"arguments": {"path": "b"}, "remember": "always"})]


@pytest.mark.parametrize("word", ["--deny", "--reject"])
def test_a_refusal_has_a_reason(shell: Shell, word: str) -> None:
    shell.asks_approval()
    shell.asks_model()
    assert shell.run("inbox", "answer", "A1", word, "no", "--conversation") == 0
    assert shell.run("inbox", "answer", "S1", word, "no") == 0
    assert shell.rest.sent == [
        ("A1 deny", {"reason": "no", "remember": "conversation"}),
        ("S1 reject", {"reason": "no"}),
    ]


def test_a_models_answer_is_reviewed_and_delivered(
    shell: Shell, tmp_path: Path, capsys: Out
) -> None:
    shell.asks_model()
    edits = tmp_path / "edits.json"
    edits.write_text('{"max_tokens": 5}')
    words = ("--approve", "--review", "--edits", str(edits))
    assert shell.run("inbox", "answer", "S1", *words) == 0
    said = capsys.readouterr().out
    assert "| Four." in said
    assert "agenthub inbox answer S1 --deliver" in said
    assert shell.run("inbox", "answer", "S1", "--deliver") == 0
    assert shell.rest.sent == [
        ("S1 approve", {"max_tokens": 5, "review": True}),
        ("S1 deliver", {}),
    ]


def test_json_is_printed_for_programs(shell: Shell, capsys: Out) -> None:
    shell.asks_model()
    assert shell.run("inbox", "answer", "S1", "--approve", "--json") == 0
    assert json.loads(capsys.readouterr().out)["result"] == ANSWER


@pytest.mark.parametrize(
    "words",
    [
        ("E1",),
        ("E1", "--json"),
        ("E1", "--accept", "--decline"),
        ("E1", "--approve"),
        ("E1", "--set", "name=Ada"),
        ("E1", "--decline", "--set", "name=Ada"),
        ("E1", "--accept", "--set", "name"),
        ("E1", "--accept", "--set", "other=1"),
        ("E1", "--accept", "--set", "seats=x"),
        ("E1", "--accept", "--review"),
        ("A1", "--approve", "--always", "--conversation"),
        ("A1", "--deliver"),
        ("A1", "--approve", "--review"),
        ("S1", "--approve", "--always"),
        ("S1", "--deny", "no", "--result", "x"),
    ],
)
def test_options_that_make_no_sense_are_refused(shell: Shell, words: tuple[str, ...]) -> None:
    shell.asks_form()
    shell.asks_approval()
    shell.asks_model()
    shell.person.is_there_ = False
    assert shell.run("inbox", "answer", *words) == 2
    assert shell.rest.sent == []


@pytest.mark.parametrize(("text", "code"), [("[]", 2), ("{", 2), (None, 1)])
def test_a_file_that_is_no_object_is_refused(
    shell: Shell, tmp_path: Path, text: str | None, code: int
) -> None:
    shell.asks_approval()
    file = tmp_path / "x.json"
    if text is not None:
        file.write_text(text)
    assert shell.run("inbox", "answer", "A1", "--approve", "--arguments", str(file)) == code
    assert shell.rest.sent == []


@pytest.mark.parametrize("status", [409, 410, 422, 403])
def test_what_the_hub_refuses_fails(shell: Shell, status: int, capsys: Out) -> None:
    shell.asks_form()
    shell.rest.refusals = [refused(status, "some_code", (["content", "name"], "is taken"))]
    assert shell.run("inbox", "answer", "E1", "--accept", "--set", "name=Ada") == 1
    assert "is taken" in capsys.readouterr().err


def test_an_unknown_question_is_not_found(shell: Shell, capsys: Out) -> None:
    assert shell.run("inbox", "show", "X1") == 1
    assert "X1" in capsys.readouterr().err


def test_what_waits_is_listed_the_oldest_first_with_the_time_left(
    shell: Shell, capsys: Out
) -> None:
    shell.asks_model(subject="", agent="")
    shell.rest.clock.advance(90)
    shell.asks_approval()
    shell.asks_form("E0", status="completed")
    shell.asks_model("S2", status="approved", in_review=True, result=ANSWER)
    shell.asks_model("S3", status="approved")
    shell.rest.clock.advance(15)
    shell.person.is_there_ = False
    assert shell.run("inbox") == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["S1", "A1", "S2"]
    assert "unknown" in rows[0]
    assert "8 min 15 s" in rows[0]
    assert "cody (owner)" in rows[1]
    assert "9 min 45 s" in rows[1]
    assert "sampling (review)" in rows[2]
    shell.rest.clock.advance(600)
    assert shell.run("inbox", "ls") == 0
    assert "expired" in capsys.readouterr().out


def test_lists_are_printed_as_json_and_by_kind(shell: Shell, capsys: Out) -> None:
    shell.asks_form()
    shell.asks_form("E0", status="completed")
    assert shell.run("inbox", "--json") == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ["E1"]
    assert shell.run("inbox", "ls", "--kind", "elicitation", "--json") == 0
    assert {one["id"] for one in json.loads(capsys.readouterr().out)} == {"E0", "E1"}
    assert shell.run("inbox", "ls", "--kind", "elicitation", "--status", "completed") == 0
    assert "E1" not in capsys.readouterr().out
    assert shell.run("inbox", "ls", "--status", "completed") == 2


HOSTILE = "\x1b[2J\x9b31m\u202etxt\u200b\U000e0041\r[bold]x[/bold]\n[y] yes, this once"


def test_what_others_write_cannot_pose_as_the_command_line(shell: Shell, capsys: Out) -> None:
    shell.asks_approval(agent=HOSTILE, key=HOSTILE, warnings=[HOSTILE])
    shell.rest.questions["A1"]["question"] |= {"description": HOSTILE, "why": HOSTILE}
    shell.rest.questions["A1"]["question"]["arguments"] = {HOSTILE: HOSTILE}
    assert shell.run("inbox", "ls") == 0
    assert shell.run("inbox", "show", "A1") == 0
    said = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\u202e", "\u200b", "\U000e0041", "\r"} & set(said)
    assert "[bold]x[/bold]" in said
    assert not [line for line in said.splitlines() if line.lstrip().startswith("[y]")]


def test_json_for_programs_holds_the_same_text_and_steers_no_terminal(
    shell: Shell, capsys: Out
) -> None:
    shell.asks_form(agent=HOSTILE)
    assert shell.run("inbox", "show", "E1", "--json") == 0
    said = capsys.readouterr().out
    assert not {"\x9b", "\u202e", "\U000e0041"} & set(said)
    assert json.loads(said)["agent"] == HOSTILE


def test_letters_of_all_scripts_stay_as_they_are() -> None:
    assert clean("é 日本 👍 עברית\n\t-") == "é 日本 👍 עברית\n\t-"


@pytest.mark.parametrize(
    ("options", "word", "shown"),
    [
        (("--accept", "--set", "name=Ada"), "answered", '"name": "Ada"'),
        (("--decline",), "declined", "declined"),
        (("--cancel",), "cancelled", "cancelled"),
    ],
)
def test_an_answered_question_says_what_the_answer_was(
    shell: Shell, capsys: Out, options: tuple[str, ...], word: str, shown: str
) -> None:
    shell.asks_form()
    assert shell.run("inbox", "answer", "E1", *options) == 0
    assert capsys.readouterr().out == f"E1 is {word}.\n"
    shell.rest.questions["E1"]["status"] = "completed"
    assert shell.run("inbox", "ls", "--kind", "elicitation") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert "STATE" in head
    assert word in line
    assert shell.run("inbox", "show", "E1") == 0
    said = capsys.readouterr().out
    assert shown in said
    assert '- name (text of Ada; required; default "Ada"): name' in said


def test_a_field_that_the_form_does_not_have_is_named(shell: Shell, capsys: Out) -> None:
    shell.asks_form()
    assert shell.run("inbox", "answer", "E1", "--accept", "--set", "nam=Ada") == 2
    assert "no field 'nam'; its fields: name, seats, food" in capsys.readouterr().err
