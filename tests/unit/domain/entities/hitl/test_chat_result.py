"""A model's answer, and a person's edits of it, are results that the server can read."""

from typing import Any

import pytest

from agenthub.domain.entities.hitl.chat_result import (
    checked_result,
    edited_params,
    message_result,
)
from agenthub.domain.exceptions import InvalidError

PARAMS = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "Hello."}}],
    "maxTokens": 100,
    "systemPrompt": "Be kind.",
}
SAID = {"type": "text", "text": "Hi."}
RESULT = {"role": "assistant", "content": SAID, "model": "m"}
USE = {"type": "tool_use", "id": "a", "name": "files.read", "input": {"x": 1}}


def call(arguments: str, name: str = "files_read", call_id: str | None = "a") -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def made(*calls: dict[str, Any], text: str = "Hi.", reason: str = "stop", **more: Any) -> Any:
    names = more.get("names", {"files_read": "files.read"})
    return message_result(text=text, calls=calls, finish_reason=reason, model="m", names=names)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "endTurn"),
        ("length", "maxTokens"),
        ("stop_sequence", "stopSequence"),
        ("content_filter", "contentFilter"),
        ("tool_calls", "endTurn"),  # and no call that can be read
        ("odd", "odd"),
    ],
)
def test_a_text_says_why_it_ends(finish: str, reason: str) -> None:
    assert made(reason=finish) == {**RESULT, "stopReason": reason}


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_calls_of_tools_come_with_the_servers_own_names(finish: str) -> None:
    found = made(call('{"x": 1}'), reason=finish)
    assert found["content"] == [SAID, USE]
    assert found["stopReason"] == "toolUse"


def test_calls_without_words_come_without_an_empty_text() -> None:
    assert made(call('{"x": 1}'), text="")["content"] == [USE]


def test_calls_without_ids_are_told_apart() -> None:
    uses = made(call("{}", call_id=None), call("", call_id=None), text="")["content"]
    assert len({one["id"] for one in uses}) == 2


@pytest.mark.parametrize("arguments", ['{"x": ', "[1]", "1", "[" * 100_000])
def test_a_call_that_cannot_be_read_is_said_and_never_made(arguments: str) -> None:
    found = made(call(arguments), reason="tool_calls")
    assert found["content"]["type"] == "text"
    assert "'files_read'" in found["content"]["text"]
    assert found["stopReason"] == "endTurn"


def test_a_call_that_nobody_offered_is_left_out() -> None:
    assert made(call("{}"), names={})["content"] == SAID


def test_an_edited_answer_is_taken_as_it_is() -> None:
    assert checked_result({**RESULT, "stopReason": None}, with_tools=False) == RESULT
    whole = {**RESULT, "content": [SAID, USE], "stopReason": "toolUse", "_meta": {}}
    assert checked_result(whole, with_tools=True) == whole


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("x", ()),
        ({**RESULT, "role": "user"}, ("role",)),
        ({**RESULT, "model": ""}, ("model",)),
        ({**RESULT, "extra": 1}, ("extra",)),
        ({**RESULT, "stopReason": 1}, ("stopReason",)),
        ({"role": "assistant", "model": "m"}, ("content", 0)),
        ({**RESULT, "content": [SAID]}, ("content",)),
        ({**RESULT, "content": USE}, ("content", 0, "type")),
        ({**RESULT, "content": {"type": "image", "data": "AA=="}}, ("content", 0, "mimeType")),
    ],
)
def test_an_edited_answer_that_is_none_is_refused(wrong: Any, place: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidError) as caught:
        checked_result(wrong, with_tools=False)
    assert caught.value.faults[0].loc == ("result", *place)


@pytest.mark.parametrize("member", ["id", "name", "input"])
def test_an_edited_use_of_a_tool_is_whole(member: str) -> None:
    use = {name: value for name, value in USE.items() if name != member}
    with pytest.raises(InvalidError) as caught:
        checked_result({**RESULT, "content": [use]}, with_tools=True)
    assert caught.value.faults[0].loc == ("result", "content", 0, member)


def test_a_decision_without_edits_changes_nothing() -> None:
    decision = {"messages": None, "review": True, "model": "openai/x"}
    assert edited_params(PARAMS, decision) == PARAMS


def test_edits_stand_in_place_of_what_the_server_said() -> None:
    messages = [{"role": "user", "content": {"type": "text", "text": "Bye."}}]
    edited = edited_params(
        PARAMS, {"messages": messages, "system_prompt": "", "max_tokens": 7, "review": False}
    )
    assert edited == {"messages": messages, "systemPrompt": "", "maxTokens": 7}


def test_nobody_gives_the_server_more_than_it_asked_for() -> None:
    assert edited_params(PARAMS, {"max_tokens": 1_000})["maxTokens"] == 100


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ([], ("params",)),
        ({"colour": "red"}, ("colour",)),
        ({"review": "yes"}, ("review",)),
        ({"model": 1}, ("model",)),
        ({"model": "x" * 257}, ("model",)),
        ({"max_tokens": 0}, ("max_tokens",)),
        ({"system_prompt": 1}, ("system_prompt",)),
        ({"messages": []}, ("messages",)),
        ({"messages": [{"role": "user", "content": {}}]}, ("messages", 0, "content", 0, "type")),
    ],
)
def test_edits_that_no_model_can_be_asked_are_refused(
    wrong: Any, place: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidError) as caught:
        edited_params(PARAMS, wrong)
    assert caught.value.faults[0].loc == place
