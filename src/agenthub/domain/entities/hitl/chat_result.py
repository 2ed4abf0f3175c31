"""A model's answer as MCP's `CreateMessageResult`, and what a person may make of both."""

from collections.abc import Mapping, Sequence
from json import loads
from typing import Any

from agenthub.domain.entities.hitl.chat_form import (
    Loc,
    blocks_at,
    chat_form,
    media_part,
    object_at,
    text_at,
    whole_number,
)
from agenthub.domain.entities.hitl.nesting import is_shallow
from agenthub.domain.exceptions import InvalidError

EDITS = ("messages", "system_prompt", "model", "max_tokens", "review")
LONGEST_MODEL_NAME = 256
_STOP_REASONS = {
    "stop": "endTurn",
    "length": "maxTokens",
    "tool_calls": "toolUse",
    "function_call": "toolUse",
    "stop_sequence": "stopSequence",
    "content_filter": "contentFilter",
}


def message_result(
    *,
    text: str,
    calls: Sequence[Mapping[str, Any]],
    finish_reason: str,
    model: str,
    names: Mapping[str, str],
) -> dict[str, Any]:
    """Make the result of a whole answer.

    `names` leads from the provider's names of tools to the server's; without tools its calls are
    left out. So is a call whose arguments are no JSON object: a text says so in its place.
    """
    uses: list[dict[str, Any]] = []
    for number, call in enumerate(calls if names else (), start=1):
        use = _use(call, names, number)
        if use is None:
            text += f"\n[A call of {call['function'].get('name')!r} cannot be read.]"
        else:
            uses.append(use)
    said = {"type": "text", "text": text}
    reason = _STOP_REASONS.get(finish_reason, finish_reason)
    if reason == "toolUse" and not uses:
        reason = "endTurn"
    if uses and reason == "endTurn":
        reason = "toolUse"  # some providers end calls of tools with "stop"
    content: Any = [*([said] if text else []), *uses] if uses else said
    return {"role": "assistant", "content": content, "model": model, "stopReason": reason}


def checked_result(result: Any, *, with_tools: bool) -> dict[str, Any]:
    """Check an answer that a person wrote. Raises InvalidError with `result` as outermost place."""
    found = object_at(result, ("result",))
    unknown = sorted(set(found) - {"role", "content", "model", "stopReason", "_meta"})
    if unknown:
        raise InvalidError.at("result", unknown[0], message="is no member of a result")
    if found.get("role") != "assistant":
        raise InvalidError.at("result", "role", message="is assistant")
    if not text_at(found.get("model"), ("result", "model")):
        raise InvalidError.at("result", "model", message="is not empty")
    if found.get("stopReason") is not None:
        text_at(found["stopReason"], ("result", "stopReason"))
    loc: Loc = ("result", "content")
    if isinstance(found.get("content"), list) and not with_tools:
        raise InvalidError.at(*loc, message="is a single block, as the server offers no tools")
    for number, block in enumerate(blocks_at(found.get("content"), loc)):
        _check_block(block, (*loc, number), with_tools=with_tools)
    return {name: value for name, value in found.items() if value is not None}


def edited_params(params: Mapping[str, Any], decision: Any) -> dict[str, Any]:
    """Put a person's edits into a server's params; the least of both limits of tokens holds.

    Raises InvalidError for a decision that has other members, or whose edits are no params.
    """
    edits = {name: value for name, value in object_at(decision).items() if value is not None}
    unknown = sorted(set(edits) - set(EDITS))
    if unknown:
        raise InvalidError.at(unknown[0], message=f"is none of {', '.join(EDITS)}")
    if not isinstance(edits.get("review", False), bool):
        raise InvalidError.at("review", message="is true or false")
    if len(text_at(edits.get("model", ""), ("model",))) > LONGEST_MODEL_NAME:
        raise InvalidError.at("model", message=f"has at most {LONGEST_MODEL_NAME} characters")
    made = dict(params)
    if "messages" in edits:
        made["messages"] = edits["messages"]
    if "system_prompt" in edits:
        made["systemPrompt"] = text_at(edits["system_prompt"], ("system_prompt",))
    if "max_tokens" in edits:
        wanted = whole_number(edits["max_tokens"], ("max_tokens",))
        made["maxTokens"] = min(wanted, chat_form(params).max_tokens)
    chat_form(made)
    return made


def _use(call: Mapping[str, Any], names: Mapping[str, str], number: int) -> dict[str, Any] | None:
    function = call["function"]
    try:
        arguments = loads(function.get("arguments") or "{}")
    except (ValueError, RecursionError):
        return None
    if not isinstance(arguments, dict) or not is_shallow(arguments):
        return None
    name = str(function.get("name") or "")
    return {
        "type": "tool_use",
        "id": str(call.get("id") or f"call_{number}"),
        "name": names.get(name, name),
        "input": arguments,
    }


def _check_block(block: Mapping[str, Any], loc: Loc, *, with_tools: bool) -> None:
    match block.get("type"):
        case "text":
            text_at(block.get("text"), (*loc, "text"))
        case "image" | "audio":
            media_part(block, loc)
        case "tool_use" if with_tools:
            text_at(block.get("id"), (*loc, "id"))
            text_at(block.get("name"), (*loc, "name"))
            object_at(block.get("input"), (*loc, "input"))
        case _:
            raise InvalidError.at(*loc, "type", message="is no type that the server can take")
