"""A server's `sampling/createMessage` in the form of OpenAI's chat completions.

Source: MCP schema 2025-11-25 and 2026-07-28, CreateMessageRequestParams; the rules for tools are
those of client/sampling, "Message Content Constraints".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from agenthub.domain.exceptions import InvalidError

Loc = tuple[str | int, ...]

CHOICES = ("auto", "required", "none")
MOST_MESSAGES = 1_000
MOST_TOKENS = 2**31 - 1
LONGEST_TOOL_NAME = 64
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]*={0,2}\s*", re.ASCII)
_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatForm:
    """A completion as providers know it. `names`: a tool's name there -> the server's own."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    tool_choice: str | None
    max_tokens: int
    temperature: float | None
    stop: tuple[str, ...]
    hints: tuple[str, ...]
    names: Mapping[str, str]


def chat_form(params: Any) -> ChatForm:
    """Read params of the server's. Raises InvalidError, which names the member."""
    whole = object_at(params)
    names = _Names()
    tools = [_tool(one, names, ("tools", i)) for i, one in enumerate(_list(whole, "tools"))]
    prompt = _optional_text(whole, "systemPrompt")
    messages = [{"role": "system", "content": prompt}] if prompt else []
    return ChatForm(
        messages=messages + _messages(whole, names),
        tools=tools,
        tool_choice=_choice(whole) if tools else None,
        max_tokens=whole_number(whole.get("maxTokens"), ("maxTokens",)),
        temperature=_temperature(whole.get("temperature")),
        stop=_texts(whole, "stopSequences"),
        hints=_hints(whole),
        names=names.own,
    )


def chosen_model(hints: Sequence[str], own: str, allowed: Sequence[str]) -> str:
    """Give the model that the first fitting hint is a part of: the hub's own, or an allowed one."""
    for hint in hints:
        for name in (own, *allowed):
            if hint and hint.lower() in name.lower():
                return name
    return own


def object_at(value: Any, loc: Loc = ("params",)) -> dict[str, Any]:
    """Give a JSON object. Raises InvalidError at `loc` for anything else; so do the others."""
    if not isinstance(value, dict):
        raise InvalidError.at(*loc, message="is an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def text_at(value: Any, loc: Loc) -> str:
    if not isinstance(value, str):
        raise InvalidError.at(*loc, message="is a text")
    return value


def whole_number(value: Any, loc: Loc) -> int:
    """Give a whole number from 1 on; JSON has 1.0 for 1 as well."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= MOST_TOKENS or value != int(value):
        raise InvalidError.at(*loc, message="is a whole number from 1 on")
    return int(value)


def blocks_at(content: Any, loc: Loc) -> list[dict[str, Any]]:
    """Give the blocks of a message, of which it may have a single one without a list."""
    found: list[Any] = content if isinstance(content, list) else [content]  # pyright: ignore[reportUnknownVariableType]
    return [object_at(block, (*loc, number)) for number, block in enumerate(found)]


def media_part(block: Mapping[str, Any], loc: Loc) -> dict[str, Any]:
    """Give a picture or a sound as a part of a chat message, as data and never as an address."""
    mime = text_at(block.get("mimeType"), (*loc, "mimeType"))
    data = text_at(block.get("data"), (*loc, "data"))
    if not _MIME.fullmatch(mime):
        raise InvalidError.at(*loc, "mimeType", message="is a media type such as image/png")
    if not _BASE64.fullmatch(data):
        raise InvalidError.at(*loc, "data", message="is base64")
    if block["type"] == "image":
        return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}"}}
    kind = mime.partition("/")[2].lower()
    sound = {"data": data, "format": _AUDIO_FORMATS.get(kind, kind)}
    return {"type": "input_audio", "input_audio": sound}


class _Names:
    """Gives tools names that every provider takes: no dots, at most 64 characters, all distinct."""

    def __init__(self) -> None:
        self.own: dict[str, str] = {}
        self._given: dict[str, str] = {}

    def give(self, name: str) -> str:
        if name not in self._given:
            plain = _NOT_IN_NAMES.sub("_", name)[:LONGEST_TOOL_NAME] or "_"
            given, number = plain, 1
            while given in self.own:
                number += 1
                given = f"{plain[: LONGEST_TOOL_NAME - 5]}_{number}"
            self.own[given], self._given[name] = name, given
        return self._given[name]


def _messages(whole: Mapping[str, Any], names: _Names) -> list[dict[str, Any]]:
    found = _list(whole, "messages")
    if not 1 <= len(found) <= MOST_MESSAGES:
        raise InvalidError.at("messages", message=f"has 1 to {MOST_MESSAGES:,} messages")
    made: list[dict[str, Any]] = []
    open_ids: set[str] = set()
    for number, message in enumerate(found):
        loc: Loc = ("messages", number)
        body = object_at(message, loc)
        blocks = blocks_at(body.get("content"), (*loc, "content"))
        answered = _answered(blocks, (*loc, "content"))
        if answered != open_ids:
            raise InvalidError.at(
                *loc, message="has the result of every tool use of the message before, and no other"
            )
        match body.get("role"):
            case "user":
                made += _user(blocks, (*loc, "content"))
            case "assistant":
                made += _assistant(blocks, names, (*loc, "content"))
            case _:
                raise InvalidError.at(*loc, "role", message="is user or assistant")
        open_ids = {str(one["id"]) for one in blocks if one.get("type") == "tool_use"}
    if open_ids:
        raise InvalidError.at("messages", message="end with the results of every tool use")
    return made


def _answered(blocks: Sequence[Mapping[str, Any]], loc: Loc) -> set[str]:
    """Give the ids of the tool results, which come without anything else."""
    results = [one for one in blocks if one.get("type") == "tool_result"]
    if results and len(results) != len(blocks):
        raise InvalidError.at(*loc, message="has tool results and nothing else, or none")
    return {text_at(one.get("toolUseId"), (*loc, "toolUseId")) for one in results}


def _user(blocks: Sequence[Mapping[str, Any]], loc: Loc) -> list[dict[str, Any]]:
    if blocks and blocks[0].get("type") == "tool_result":
        return _results(blocks, loc)
    parts = [_part(block, (*loc, number)) for number, block in enumerate(blocks)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return [{"role": "user", "content": parts[0]["text"]}]
    return [{"role": "user", "content": parts or ""}]


def _assistant(
    blocks: Sequence[Mapping[str, Any]], names: _Names, loc: Loc
) -> list[dict[str, Any]]:
    """Pictures of the assistant's go before it, in a user's name: providers take no others."""
    calls: list[dict[str, Any]] = []
    texts: list[str] = []
    media: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        here: Loc = (*loc, number)
        if block.get("type") == "tool_use":
            calls.append(_call(block, names, here))
            continue
        part = _part(block, here)
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            media.append(part)
    message: dict[str, Any] = {"role": "assistant", "content": "\n".join(texts)}
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": calls}
    return [*_media_message(media), message]


def _part(block: Mapping[str, Any], loc: Loc) -> dict[str, Any]:
    match block.get("type"):
        case "text":
            return {"type": "text", "text": text_at(block.get("text"), (*loc, "text"))}
        case "image" | "audio":
            return media_part(block, loc)
        case _:
            raise InvalidError.at(*loc, "type", message="is text, image or audio here")


def _call(block: Mapping[str, Any], names: _Names, loc: Loc) -> dict[str, Any]:
    """The server's own history may use tools that it offers no longer."""
    name = names.give(text_at(block.get("name"), (*loc, "name")))
    arguments = dumps(object_at(block.get("input"), (*loc, "input")), ensure_ascii=False)
    return {
        "id": text_at(block.get("id"), (*loc, "id")),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _results(blocks: Sequence[Mapping[str, Any]], loc: Loc) -> list[dict[str, Any]]:
    """What tools gave beside text follows in a message of its own: providers take text only."""
    made: list[dict[str, Any]] = []
    media: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        here: Loc = (*loc, number, "content")
        texts: list[str] = []
        for place, piece in enumerate(_list(block, "content", here)):
            found = object_at(piece, (*here, place))
            if found.get("type") in ("image", "audio"):
                media.append(media_part(found, (*here, place)))
            else:
                texts.append(_as_text(found, (*here, place)))
        if not texts and block.get("structuredContent") is not None:
            texts.append(dumps(block["structuredContent"], ensure_ascii=False))
        said = "\n".join(texts)
        if block.get("isError"):
            said = f"Error: {said}"
        made.append({"role": "tool", "tool_call_id": block["toolUseId"], "content": said})
    return made + _media_message(media)


def _media_message(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": parts}] if parts else []


def _as_text(block: Mapping[str, Any], loc: Loc) -> str:
    match block.get("type"):
        case "text":
            return text_at(block.get("text"), (*loc, "text"))
        case "resource":
            resource = object_at(block.get("resource"), (*loc, "resource"))
            said = resource.get("text")
            return said if isinstance(said, str) else f"[resource {resource.get('uri')}]"
        case "resource_link":
            return f"[resource {block.get('uri')}]"
        case _:
            raise InvalidError.at(*loc, "type", message="is no type of content")


def _tool(value: Any, names: _Names, loc: Loc) -> dict[str, Any]:
    tool = object_at(value, loc)
    own = text_at(tool.get("name"), (*loc, "name"))
    if own in names.own.values():
        raise InvalidError.at(*loc, "name", message="is the name of another one too")
    function: dict[str, Any] = {
        "name": names.give(own),
        "parameters": object_at(tool.get("inputSchema"), (*loc, "inputSchema")),
    }
    description = tool.get("description") or tool.get("title")
    if description is not None:
        function["description"] = text_at(description, (*loc, "description"))
    return {"type": "function", "function": function}


def _choice(whole: Mapping[str, Any]) -> str | None:
    if whole.get("toolChoice") is None:
        return None
    mode = object_at(whole["toolChoice"], ("toolChoice",)).get("mode")
    if mode is not None and mode not in CHOICES:
        raise InvalidError.at("toolChoice", "mode", message=f"is one of {', '.join(CHOICES)}")
    return mode


def _temperature(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= 100:
        raise InvalidError.at("temperature", message="is a number")
    return float(value)


def _hints(whole: Mapping[str, Any]) -> tuple[str, ...]:
    if whole.get("modelPreferences") is None:
        return ()
    loc: Loc = ("modelPreferences", "hints")
    found = _list(object_at(whole["modelPreferences"], loc[:1]), "hints", loc)
    hints = [object_at(hint, (*loc, number)) for number, hint in enumerate(found)]
    return tuple(text_at(one["name"], loc) for one in hints if one.get("name") is not None)


def _texts(whole: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(text_at(one, (name, number)) for number, one in enumerate(_list(whole, name)))


def _optional_text(whole: Mapping[str, Any], name: str) -> str:
    value = whole.get(name)
    return "" if value is None else text_at(value, (name,))


def _list(whole: Mapping[str, Any], name: str, loc: Loc = ()) -> list[Any]:
    value = whole.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidError.at(*(loc or (name,)), message="is a list")
    return value  # pyright: ignore[reportUnknownVariableType]
