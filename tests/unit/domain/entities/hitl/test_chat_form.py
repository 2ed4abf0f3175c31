"""What a server wants sampled becomes the same chat for every provider, or an error it can read."""

from typing import Any

import pytest

from agenthub.domain.entities.hitl.chat_form import ChatForm, chat_form, chosen_model
from agenthub.domain.exceptions import InvalidError

PIXEL = "iVBORw0KGgo="
IMAGE = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
AUDIO = {"type": "audio", "data": "UklGRg==", "mimeType": "audio/mpeg"}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}}
USE = {"type": "tool_use", "id": "call-1", "name": "files.read", "input": {"path": "a"}}
CALL = {
    "id": "call-1",
    "type": "function",
    "function": {"name": "files_read", "arguments": '{"path": "a"}'},
}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}}


def result(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "toolUseId": "call-1", "content": list(content), **more}


def params(*messages: tuple[str, Any], **more: Any) -> dict[str, Any]:
    told = messages or (("user", text("Hello.")),)
    made = [{"role": role, "content": content} for role, content in told]
    return {"messages": made, "maxTokens": 100, **more}


def form(*messages: tuple[str, Any], **more: Any) -> ChatForm:
    return chat_form(params(*messages, **more))


def test_a_plain_text_is_a_plain_message() -> None:
    assert form().messages == [{"role": "user", "content": "Hello."}]


def test_the_prompt_and_all_limits_are_handed_on() -> None:
    read = form(systemPrompt="Be brief.", temperature=0.5, stopSequences=["END", "."])
    assert read.messages[0] == {"role": "system", "content": "Be brief."}
    assert (read.max_tokens, read.temperature, read.stop) == (100, 0.5, ("END", "."))


def test_members_that_are_null_are_not_there() -> None:
    read = form(
        systemPrompt=None,
        temperature=None,
        stopSequences=None,
        tools=None,
        toolChoice=None,
        modelPreferences=None,
    )
    assert read == form()


@pytest.mark.parametrize("content", [[text("Look:"), IMAGE, AUDIO], [IMAGE], IMAGE, AUDIO])
def test_pictures_and_sounds_go_as_data(content: Any) -> None:
    blocks = content if isinstance(content, list) else [content]
    parts = {"text": text("Look:"), "image": PICTURE, "audio": SOUND}
    expected = [parts[block["type"]] for block in blocks]
    assert form(("user", content)).messages == [{"role": "user", "content": expected}]


def test_pictures_of_the_assistant_go_before_it_as_no_provider_takes_them_from_it() -> None:
    read = form(("user", text("Draw.")), ("assistant", [text("Here."), IMAGE]))
    assert read.messages[1:] == [
        {"role": "user", "content": [PICTURE]},
        {"role": "assistant", "content": "Here."},
    ]


def test_a_use_of_a_tool_and_its_result_keep_together() -> None:
    read = form(
        ("user", text("Read a.")),
        ("assistant", [text("Let me see."), USE]),
        ("user", [result(text("one"), text("two"))]),
        tools=[tool("files.read")],
    )
    assert read.messages[1:] == [
        {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call-1", "content": "one\ntwo"},
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (result(text("no"), isError=True), "Error: no"),
        (result(structuredContent={"a": "ü"}), '{"a": "ü"}'),
        (result({"type": "resource_link", "uri": "file:///a"}), "[resource file:///a]"),
        (result({"type": "resource", "resource": {"uri": "x:a", "text": "body"}}), "body"),
        (
            result({"type": "resource", "resource": {"uri": "x:a", "blob": "AA=="}}),
            "[resource x:a]",
        ),
        (result(), ""),
    ],
)
def test_what_a_tool_gave_is_told_as_text(given: dict[str, Any], said: str) -> None:
    read = form(("assistant", USE), ("user", given))
    assert read.messages[-1] == {"role": "tool", "tool_call_id": "call-1", "content": said}


def test_a_picture_that_a_tool_gave_follows_its_text() -> None:
    read = form(("assistant", USE), ("user", [result(text("see"), IMAGE)]))
    assert read.messages[-2]["content"] == "see"
    assert read.messages[-1] == {"role": "user", "content": [PICTURE]}


def test_tools_get_names_that_providers_take_and_keep_their_own() -> None:
    names = ["files.read", "files/read", "plain", "x" * 80]
    read = form(tools=[tool(name) for name in names], toolChoice={"mode": "required"})
    given = [one["function"]["name"] for one in read.tools]
    assert given == ["files_read", "files_read_2", "plain", "x" * 64]
    assert [read.names[name] for name in given] == names
    assert read.tool_choice == "required"


def test_a_tool_is_described_by_its_own_words() -> None:
    described = {**tool("add"), "description": "Adds."}
    function = form(tools=[described]).tools[0]["function"]
    assert function == {"name": "add", "parameters": {"type": "object"}, "description": "Adds."}


def test_a_choice_without_tools_is_none() -> None:
    assert form(toolChoice={"mode": "required"}).tool_choice is None
    assert form(tools=[tool("a")]).tool_choice is None
    assert form(tools=[tool("a")], toolChoice={}).tool_choice is None


def test_hints_are_told_in_their_order() -> None:
    preferences = {"hints": [{"name": "sonnet"}, {}, {"name": "mini"}], "costPriority": 0.3}
    assert form(modelPreferences=preferences).hints == ("sonnet", "mini")


@pytest.mark.parametrize(
    ("hints", "chosen"),
    [
        ((), "openai/gpt-5.5"),
        (("claude", "GPT"), "openai/gpt-5.5"),
        (("MINI",), "openai/gpt-5-mini"),
        (("unknown", ""), "openai/gpt-5.5"),
    ],
)
def test_the_first_hint_that_fits_chooses_the_model(hints: tuple[str, ...], chosen: str) -> None:
    assert chosen_model(hints, "openai/gpt-5.5", ["openai/gpt-5-mini"]) == chosen


@pytest.mark.parametrize("tokens", [1, 1.0, 2**31 - 1])
def test_a_whole_number_may_be_written_as_json_does(tokens: float) -> None:
    assert form(maxTokens=tokens).max_tokens == int(tokens)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ([], ("params",)),
        ({"maxTokens": 1}, ("messages",)),
        ({"messages": "x", "maxTokens": 1}, ("messages",)),
        ({"messages": ["x"], "maxTokens": 1}, ("messages", 0)),
        (params(("system", text("x"))), ("messages", 0, "role")),
        (params(("user", "x")), ("messages", 0, "content", 0)),
        (params(("user", {"type": "text"})), ("messages", 0, "content", 0, "text")),
        (params(("user", {"type": "video"})), ("messages", 0, "content", 0, "type")),
        (params(("user", {**IMAGE, "data": "a b"})), ("messages", 0, "content", 0, "data")),
        (
            params(("user", {**IMAGE, "mimeType": "image/png,x"})),
            ("messages", 0, "content", 0, "mimeType"),
        ),
        (params(("user", USE)), ("messages", 0, "content", 0, "type")),
        (params(("assistant", USE)), ("messages",)),
        (params(("assistant", USE), ("user", text("x"))), ("messages", 1)),
        (params(("user", result(text("x")))), ("messages", 0)),
        (
            params(("assistant", USE), ("user", [result(), text("x")])),
            ("messages", 1, "content"),
        ),
        (
            params(("assistant", USE), ("user", [result({"type": "video"})])),
            ("messages", 1, "content", 0, "content", 0, "type"),
        ),
        (params(("assistant", {**USE, "input": "x"})), ("messages", 0, "content", 0, "input")),
        (params(maxTokens=0), ("maxTokens",)),
        (params(maxTokens=1.5), ("maxTokens",)),
        (params(maxTokens=True), ("maxTokens",)),
        (params(maxTokens=None), ("maxTokens",)),
        (params(temperature="hot"), ("temperature",)),
        (params(temperature=1e9), ("temperature",)),
        (params(stopSequences=[1]), ("stopSequences", 0)),
        (params(systemPrompt=1), ("systemPrompt",)),
        (params(tools=[{"name": "a"}]), ("tools", 0, "inputSchema")),
        (params(tools=[tool("a"), tool("a")]), ("tools", 1, "name")),
        (params(tools=[tool("a")], toolChoice={"mode": "any"}), ("toolChoice", "mode")),
        (params(modelPreferences={"hints": {}}), ("modelPreferences", "hints")),
    ],
)
def test_what_is_no_sampling_is_refused_where_it_is_wrong(
    wrong: Any, place: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidError) as caught:
        chat_form(wrong)
    assert caught.value.faults[0].loc == place
