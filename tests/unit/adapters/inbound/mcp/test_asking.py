"""Who can be asked what, and which answers fit."""

import json
from dataclasses import replace
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.asking import (
    ELICIT,
    SAMPLE,
    UndeclaredError,
    fits,
    is_answerable,
    require_answerable,
)
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Question

FORM_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "ok": {"type": "boolean"},
        "tags": {"type": "array"},
        "any": {},
    },
    "required": ["name"],
}


def question(method: str, **params: Any) -> Question:
    return Question("time", method, json.dumps(params).encode())


FORM = question(ELICIT, requestedSchema=FORM_SCHEMA)
URL = question(ELICIT, mode="url", url="https://x.test")
PLAIN = question(SAMPLE, messages=[])
WITH_TOOLS = question(SAMPLE, messages=[], tools=[])


@pytest.mark.parametrize(
    ("declared", "asked"),
    [
        ({"elicitation": {}}, FORM),
        ({"elicitation": {"form": {}}}, FORM),
        ({"elicitation": {"form": {}, "url": {}}}, URL),
        ({"sampling": {}}, PLAIN),
        ({"sampling": {"tools": {}}}, WITH_TOOLS),
    ],
)
def test_what_was_declared_is_asked(declared: dict[str, Any], asked: Question) -> None:
    require_answerable(declared, asked)


@pytest.mark.parametrize(
    ("declared", "asked", "missing"),
    [
        ({}, FORM, "elicitation"),
        ({}, URL, "elicitation.url"),
        ({"elicitation": {}}, URL, "elicitation.url"),
        ({"elicitation": {"url": {}}}, FORM, "elicitation.form"),
        ({"elicitation": True}, FORM, "elicitation"),
        ({}, PLAIN, "sampling"),
        ({}, WITH_TOOLS, "sampling.tools"),
        ({"sampling": {}}, WITH_TOOLS, "sampling.tools"),
        ({"roots": {}}, question("roots/list"), "roots"),
    ],
)
def test_what_was_not_declared_is_refused_by_name(
    declared: dict[str, Any], asked: Question, missing: str
) -> None:
    with pytest.raises(UndeclaredError) as refusal:
        require_answerable(declared, asked)

    assert refusal.value.missing == (missing,)
    assert f"'{missing}'" in refusal.value.message
    assert "'time'" in refusal.value.message


def test_what_may_be_meant_for_another_agent_is_for_none() -> None:
    foreign = replace(FORM, is_attributed=False)

    assert is_answerable({"elicitation": {}}, FORM)
    assert not is_answerable({"elicitation": {}}, foreign)
    with pytest.raises(UnanswerableError):
        require_answerable({"elicitation": {}}, FORM, foreign)


BARE = {"action": "accept"}


def test_all_that_is_missing_for_several_questions_is_named_at_once() -> None:
    with pytest.raises(UndeclaredError) as refusal:
        require_answerable({"elicitation": {}}, FORM, URL, PLAIN, URL)

    assert refusal.value.missing == ("elicitation.url", "sampling")


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (FORM, accept(name="Ada")),
        (FORM, accept(name="Ada", age=3, ok=True, tags=["a"], any=None, more=1)),
        (FORM, {"action": "decline"}),
        (FORM, {"action": "cancel", "content": None}),
        (URL, {"action": "accept"}),
        (question(ELICIT, requestedSchema={"type": "object", "properties": {}}), BARE),
        (question(ELICIT), BARE),
        (question(ELICIT), {**BARE, "content": None}),
        (question(ELICIT), accept(anything=1)),
        (PLAIN, {"role": "assistant", "content": {}, "model": "m"}),
    ],
)
def test_fitting_answers_are_taken(asked: Question, answer: Any) -> None:
    assert fits(asked, json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (FORM, accept()),
        (FORM, accept(name=1)),
        (FORM, accept(name="Ada", age="old")),
        (FORM, accept(name="Ada", age=True)),
        (FORM, accept(name="Ada", ok="yes")),
        (FORM, BARE),
        (question(ELICIT), {**BARE, "content": []}),
        (FORM, {"action": "perhaps"}),
        (URL, {}),
        (FORM, []),
        (FORM, "accept"),
        (PLAIN, {"role": "assistant"}),
    ],
)
def test_answers_of_another_shape_are_not_taken(asked: Question, answer: Any) -> None:
    assert not fits(asked, json.dumps(answer).encode())
