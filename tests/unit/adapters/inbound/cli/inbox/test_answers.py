"""Questions answered step by step at a terminal."""

from typing import Any

import pytest

from tests.unit.adapters.inbound.cli.inbox.kit import ANSWER, Shell, refused

Out = pytest.CaptureFixture[str]


def test_a_form_is_filled_in_field_by_field(shell: Shell, capsys: Out) -> None:
    shell.asks_form()
    assert shell.run("inbox", "answer", "E1", types=("a", "Ada", "", "1, 2", "y")) == 0
    content = {"name": "Ada", "seats": 2, "food": ["meat", "fish"]}
    assert shell.rest.sent == [("E1 respond", {"action": "accept", "content": content})]
    said = capsys.readouterr().out
    for words in ("A table?", "As on the card.", "at least 2 characters", "at most 9", "2. fish"):
        assert words in said
    assert "seats [2]: " in shell.person.prompts


def test_what_does_not_fit_is_asked_again_at_once(shell: Shell, capsys: Out) -> None:
    shell.asks_form()
    types = ("a", "", "A", "Ada", "ten", "10", "9", "meat", "y")
    assert shell.run("inbox", "answer", "E1", types=types) == 0
    assert shell.rest.sent[0][1]["content"] == {"name": "Ada", "seats": 9, "food": ["meat"]}
    said = capsys.readouterr().out
    for words in ("must have at least 2", "must be a number", "must be at most 9"):
        assert words in said


def test_an_optional_field_can_be_left_out(shell: Shell) -> None:
    shell.asks_form()
    assert shell.run("inbox", "answer", "E1", types=("a", "Ada", "-", "", "y")) == 0
    assert shell.rest.sent[0][1]["content"] == {"name": "Ada"}


def test_only_the_fields_that_the_hub_refuses_are_asked_again(shell: Shell, capsys: Out) -> None:
    shell.asks_form()
    shell.rest.refusals = [refused(422, "invalid_content", (["content", "seats"], "is too many"))]
    types = ("a", "Ada", "9", "", "y", "3", "y")
    assert shell.run("inbox", "answer", "E1", types=types) == 0
    assert [body["content"] for _, body in shell.rest.sent] == [
        {"name": "Ada", "seats": 9},
        {"name": "Ada", "seats": 3},
    ]
    assert "is too many" in capsys.readouterr().out


def test_a_form_that_is_not_sent_stays(shell: Shell) -> None:
    shell.asks_form()
    types = ("a", "Ada", "", "", "n", "y", "Bob", "", "", "n", "n")
    assert shell.run("inbox", "answer", "E1", types=types) == 0
    assert shell.rest.sent == []


@pytest.mark.parametrize(("key", "action"), [("d", "decline"), ("c", "cancel")])
def test_a_question_is_declined_or_cancelled(shell: Shell, key: str, action: str) -> None:
    shell.asks_form()
    assert shell.run("inbox", "answer", "E1", types=("?", key)) == 0
    assert shell.rest.sent == [("E1 respond", {"action": action})]


def test_an_address_is_opened_behind_two_yeses_only(shell: Shell, capsys: Out) -> None:
    shell.asks_visit()
    assert shell.run("inbox", "answer", "U1", types=("v", "n")) == 0
    assert (shell.rest.sent, shell.person.visited) == ([], [])
    assert "shop.example" in shell.person.prompts[1]
    assert shell.run("inbox", "answer", "U1", types=("v", "y", "n")) == 0
    assert shell.rest.sent == [("U1 respond", {"action": "accept"})]
    assert shell.person.visited == []
    assert "Open it yourself: https://shop.example/pay?x=1" in capsys.readouterr().out


def test_an_address_is_printed_where_there_is_no_browser(shell: Shell, capsys: Out) -> None:
    shell.asks_visit()
    shell.person.has_browser = False
    assert shell.run("inbox", "answer", "U1", types=("v", "y", "y")) == 0
    assert shell.person.visited == ["https://shop.example/pay?x=1"]
    assert "Open it yourself" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "remember"), [("y", "once"), ("c", "conversation"), ("a", "always")]
)
def test_a_call_is_let_pass_for_as_long_as_said(shell: Shell, key: str, remember: str) -> None:
    shell.asks_approval()
    assert shell.run("inbox", "answer", "A1", types=(key,)) == 0
    assert shell.rest.sent == [("A1 approve", {"remember": remember})]


def test_a_call_is_denied_with_a_reason(shell: Shell) -> None:
    shell.asks_approval()
    assert shell.run("inbox", "answer", "A1", types=("n", "Not this file.")) == 0
    assert shell.rest.sent == [("A1 deny", {"reason": "Not this file.", "remember": "once"})]


def test_arguments_are_changed_in_an_editor(shell: Shell, capsys: Out) -> None:
    shell.asks_approval()
    shell.will_edit(lambda given: given | {"path": "b.txt"})
    shell.will_edit(lambda given: given | {"size": 4})
    shell.will_edit(lambda given: ["no object"])
    assert shell.run("inbox", "answer", "A1", types=("e", "y", "e", "n", "e", "y")) == 0
    body = {"arguments": {"path": "b.txt", "size": 3}, "remember": "once"}
    assert shell.rest.sent == [("A1 approve", body)]
    assert "b.txt" in capsys.readouterr().out


def test_what_is_no_json_is_edited_again(shell: Shell) -> None:
    shell.asks_approval()
    shell.person.edits.append(lambda text: "{")
    shell.person.edits.append(lambda text: '{"path": "c"}')
    assert shell.run("inbox", "answer", "A1", types=("e", "", "y", "y")) == 0
    assert shell.rest.sent[0][1]["arguments"] == {"path": "c"}


def test_arguments_that_the_hub_refuses_can_be_changed_again(shell: Shell) -> None:
    shell.asks_approval()
    shell.rest.refusals = [refused(422, "invalid_arguments", (["arguments", "path"], "is bad"))]
    assert shell.run("inbox", "answer", "A1", types=("y", "y")) == 0
    assert len(shell.rest.sent) == 2


def test_a_call_of_no_conversation_can_be_let_pass_once(shell: Shell, capsys: Out) -> None:
    shell.asks_approval()
    shell.rest.refusals = [refused(409, "no_conversation")]
    assert shell.run("inbox", "answer", "A1", types=("c", "y")) == 0
    assert [body["remember"] for _, body in shell.rest.sent] == ["conversation", "once"]
    assert "no_conversation" in capsys.readouterr().out


@pytest.mark.parametrize("broken", [{"requested_schema": {}}, {"mode": "url"}])
def test_what_cannot_be_shown_can_only_be_refused(shell: Shell, broken: dict[str, Any]) -> None:
    shell.asks_form()
    shell.rest.questions["E1"]["question"] |= broken
    assert shell.run("inbox", "answer", "E1", types=("a", "v", "d")) == 0
    assert shell.rest.sent == [("E1 respond", {"action": "decline"})]


def test_a_refusal_that_no_other_answer_mends_is_told(shell: Shell, capsys: Out) -> None:
    for request_id in ("A1", "A2"):
        shell.asks_approval(request_id)
    shell.rest.refusals = [refused(404, "request_not_found")]
    assert shell.run("inbox", types=("y", "y")) == 0
    assert "request_not_found" in capsys.readouterr().err


def test_a_model_is_asked_and_its_answer_waited_for(shell: Shell, capsys: Out) -> None:
    shell.asks_model()
    assert shell.run("inbox", "answer", "S1", types=("a",)) == 0
    assert shell.rest.sent == [("S1 approve", {"review": False})]
    said = capsys.readouterr().out
    for words in ("2 + 2?", "would ask m-1", "at most 0.02 USD", "| Four.", "delivered"):
        assert words in said
    assert shell.person.pauses == 1


def test_what_a_model_is_sent_can_be_changed(shell: Shell, capsys: Out) -> None:
    shell.asks_model()
    shell.person.edits.append(lambda text: "Be brief.\n")
    shell.will_edit(lambda messages: [*messages, {"role": "user", "content": "now"}])
    types = ("m", "m-2", "t", "many", "t", "50", "p", "e", "a")
    assert shell.run("inbox", "answer", "S1", types=types) == 0
    ((_, body),) = shell.rest.sent
    assert (body["model"], body["max_tokens"]) == ("m-2", 50)
    assert body["system_prompt"] == "Be brief."
    assert body["messages"][-1]["content"] == "now"
    assert "would ask m-2" in capsys.readouterr().out


def test_a_budget_that_is_used_up_leaves_the_question(shell: Shell, capsys: Out) -> None:
    shell.asks_model()
    shell.rest.refusals = [refused(429, "budget_exceeded")]
    assert shell.run("inbox", "answer", "S1", types=("a", "m", "", "s")) == 0
    assert "budget_exceeded" in capsys.readouterr().out


def test_an_answer_that_the_hub_refuses_can_be_changed(shell: Shell, capsys: Out) -> None:
    shell.asks_model(status="approved", in_review=True, result=ANSWER)
    shell.rest.refusals = [refused(422, "invalid", (["result", "role"], "is assistant"))]
    shell.will_edit(lambda result: result | {"role": "x"})
    shell.will_edit(lambda result: result | {"role": "assistant"})
    assert shell.run("inbox", "answer", "S1", types=("e", "d", "e", "d")) == 0
    assert shell.rest.sent[-1] == ("S1 deliver", {"result": ANSWER})
    assert "is assistant" in capsys.readouterr().out


def test_what_is_no_text_is_told_by_its_type_and_size(shell: Shell, capsys: Out) -> None:
    shell.asks_model(subject="", deed="", key="")
    image = {"type": "image", "mimeType": "image/png", "data": "A" * 4_000}
    use = {"type": "tool_use", "name": "look", "input": {"at": "it"}}
    shell.rest.questions["S1"]["question"]["messages"] = [{"role": "user", "content": [image, use]}]
    assert shell.run("inbox", "show", "S1") == 0
    said = capsys.readouterr().out
    for words in ("[image, image/png, 4000 characters]", '"at": "it"', "nobody knows"):
        assert words in said


def test_an_answer_is_looked_over_before_it_is_delivered(shell: Shell, capsys: Out) -> None:
    shell.asks_model()
    assert shell.run("inbox", "answer", "S1", types=("r", "s")) == 0
    shell.will_edit(lambda result: result | {"model": "me"})
    assert shell.run("inbox", "answer", "S1", types=("e", "d")) == 0
    assert shell.rest.sent == [
        ("S1 approve", {"review": True}),
        ("S1 deliver", {"result": ANSWER | {"model": "me"}}),
    ]
    assert "| Four." in capsys.readouterr().out


@pytest.mark.parametrize("more", [{}, {"status": "approved", "in_review": True, "result": ANSWER}])
def test_a_model_is_not_asked_or_its_answer_not_sent(shell: Shell, more: dict[str, Any]) -> None:
    shell.asks_model(**more)
    assert shell.run("inbox", "answer", "S1", types=("x", "No need.")) == 0
    assert shell.rest.sent == [("S1 reject", {"reason": "No need."})]


def test_a_model_call_that_failed_says_why(shell: Shell, capsys: Out) -> None:
    shell.asks_model(status="failed", reason="The provider is down.")
    assert shell.run("inbox", "answer", "S1") == 1
    assert "The provider is down." in capsys.readouterr().out


def test_who_comes_too_late_is_told(shell: Shell, capsys: Out) -> None:
    shell.asks_approval()
    shell.rest.refusals = [refused(409, "request_decided")]
    assert shell.run("inbox", "answer", "A1", types=("y",)) == 1
    assert "Too late" in capsys.readouterr().err
    shell.rest.questions["A1"]["status"] = "expired"
    assert shell.run("inbox", "answer", "A1") == 1
    assert "It is expired already." in capsys.readouterr().out


def test_all_that_waits_is_gone_through_the_oldest_first(shell: Shell, capsys: Out) -> None:
    shell.asks_model()
    shell.rest.clock.advance(1)
    shell.asks_approval()
    shell.rest.clock.advance(1)
    shell.asks_form()
    shell.rest.refusals = [refused(403, "own_request")]
    assert shell.run("inbox", types=("s", "y", "s", "d")) == 0
    assert [sent for sent, _ in shell.rest.sent] == ["A1 approve", "E1 respond"]
    said = capsys.readouterr()
    assert "2 of 3" in said.out
    assert "own_request" in said.out
    shell.rest.questions.clear()
    assert shell.run("inbox") == 0
    assert "Nothing waits" in capsys.readouterr().out
