"""A question in words. What others wrote is quoted line by line, so that it cannot pose as ours."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from agenthub.adapters.inbound.cli.inbox.questions import Question
from agenthub.adapters.inbound.cli.output import say

HEADS = ("ID", "KIND", "SERVER", "TOOL", "FOR", "LEFT", "WHAT")
ENDED_HEADS = ("ID", "KIND", "SERVER", "TOOL", "FOR", "STATE", "WHAT")
SHORT = 60
_ACTIONS = {"accept": "answered", "decline": "declined", "cancel": "cancelled"}
_ENDS = {
    "approval": {"approved": "allowed", "completed": "allowed", "rejected": "denied"},
    "elicitation": {},
    "sampling": {"completed": "delivered"},
}
_KIND = {
    "approval": "A call waits for approval",
    "elicitation": "A server has a question",
    "sampling": "A server asks for a model's answer",
}


def left(question: Question, now: datetime) -> str:
    """Say how long a question can still be answered; never more than it is."""
    seconds = int((datetime.fromisoformat(question["expires_at"]) - now).total_seconds())
    if seconds <= 0:
        return "expired"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def row(question: Question, now: datetime) -> list[str]:
    """Give the cells of one line of a list."""
    kind = question["kind"] + (" (review)" if question.get("in_review") else "")
    about = short(_about(question))
    known = (question["id"], kind, question["server"], short(question["key"], 40) or "-")
    when = left(question, now) if _is_open(question) else became(question)
    return [*known, short(caller(question), 32), when, about]


def became(question: Question) -> str:
    """Say how a question ended: an answered one by what was answered, not just that it was."""
    decision: dict[str, Any] = question["decision"] or {}
    status = str(question["status"])
    return _ACTIONS.get(str(decision.get("action"))) or _ENDS[question["kind"]].get(status, status)


def caller(question: Question) -> str:
    """Say for whom the question is asked. An agent's name is its own word."""
    if not question["subject"]:
        return "unknown"
    agent = question["agent"]
    return f"{agent} ({question['subject']})" if agent else question["subject"]


def short(text: str, size: int = SHORT) -> str:
    """Make one line of a text, of so many characters at most."""
    words = " ".join(text.split())
    return words if len(words) <= size else f"{words[: size - 3]}..."


def quote(text: str) -> None:
    """Print what others wrote."""
    for line in text.splitlines() or [""]:
        say(f"  | {line}")


def quote_json(data: Any) -> None:
    """Print data that others wrote."""
    quote(json.dumps(data, indent=2, ensure_ascii=False))


def say_question(question: Question, now: datetime) -> None:
    """Print all that a person needs to decide."""
    say(f"{_KIND[question['kind']]}  ({question['id']})")
    for name, value in _facts(question, now):
        say(f"  {name}: {short(value, 200)}")
    _BODIES[question["kind"]](question["question"])
    for warning in question["warnings"]:
        say(f"  ! {short(warning, 300)}")
    _say_end(question)


def say_result(result: dict[str, Any]) -> None:
    """Print the answer of a model."""
    say(f"The answer of {short(str(result.get('model') or 'the model'))}:")
    quote(_content(result.get("content")))


def _facts(question: Question, now: datetime) -> Iterator[tuple[str, str]]:
    yield "server", question["server"]
    if question["key"]:
        yield question["deed"], question["key"]
    if question["subject"]:
        yield "for", caller(question)
    else:
        yield "for", "nobody knows: calls of several agents were under way"
    if _is_open(question):
        yield "time left", left(question, now)
    else:
        yield "status", became(question)


def _is_open(question: Question) -> bool:
    return question["status"] == "pending" or bool(question.get("in_review"))


def _say_end(question: Question) -> None:
    if question["decided_by"]:
        say(f"  decided by: {short(question['decided_by'])}")
    _say_decision(question["decision"] or {})
    if question["reason"]:
        say("  reason:")
        quote(question["reason"])
    if question["kind"] == "sampling" and question["result"]:
        say_result(question["result"])


def _say_decision(decision: dict[str, Any]) -> None:
    if decision.get("content") is not None:
        say("  answer:")
        quote_json(decision["content"])
    if decision.get("arguments") is not None:
        say("  called with these arguments instead:")
        quote_json(decision["arguments"])
    if decision.get("remember", "once") != "once":
        say(f"  holds: {short(str(decision['remember']))}")


def _say_approval(asked: dict[str, Any]) -> None:
    if asked["title"] or asked["description"]:
        say("  the tool, in its server's words:")
        quote("\n".join(text for text in (asked["title"], asked["description"]) if text))
    hints = [f"{name}={json.dumps(hint)}" for name, hint in asked["annotations"].items()]
    if hints:
        say(f"  hints: {short(' '.join(hints), 300)}")
    if asked["why"]:
        say(f"  held back by: {short(asked['why'], 200)}")
    say("  arguments:")
    quote_json(asked["arguments"])


def _say_elicitation(asked: dict[str, Any]) -> None:
    quote(asked["message"])
    if asked["url"] is not None:
        say(f"  It wants you to visit {short(str(asked['host']), 255)}. The whole address:")
        quote(str(asked["url"]))
    for field in asked["fields"]:
        say(f"  - {short(field['name'])} ({_rules(field)}): {short(field['label'])}")


def _rules(field: dict[str, Any]) -> str:
    """Say in short what a field takes; the choices by the values that `--set` takes."""
    values = [str(choice["value"]) for choice in field["choices"]]
    parts = [f"{field['kind']} of {short(', '.join(values), 200)}" if values else field["kind"]]
    parts.append("required" if field["required"] else "optional")
    if field["default"] is not None:
        parts.append(f"default {short(json.dumps(field['default'], ensure_ascii=False))}")
    return "; ".join(parts)


def _say_sampling(asked: dict[str, Any]) -> None:
    if asked["system_prompt"]:
        say("  system prompt:")
        quote(asked["system_prompt"])
    for message in asked["messages"]:
        say(f"  {short(str(message.get('role')))}:")
        quote(_content(message.get("content")))
    tools = [str(tool.get("name")) for tool in asked["tools"]]
    facts = {
        "model": ", ".join(asked["model_hints"]) or "any",
        "at most": f"{asked['max_tokens']} tokens",
        "tools": ", ".join(tools),
    }
    for name, value in facts.items():
        if value:
            say(f"  {name}: {short(value, 300)}")


_BODIES = {"approval": _say_approval, "elicitation": _say_elicitation, "sampling": _say_sampling}


def _about(question: Question) -> str:
    asked = question["question"]
    if question["kind"] == "approval":
        return json.dumps(asked["arguments"], ensure_ascii=False)
    if question["kind"] == "elicitation":
        return asked["message"]
    return _content(asked["messages"][-1].get("content")) if asked["messages"] else ""


def _content(content: Any) -> str:
    """Give the text of a message; what is no text is told by its type and size."""
    blocks = cast("list[Any]", content) if isinstance(content, list) else [content]
    return "\n".join(_block(block) for block in blocks)


def _block(block: Any) -> str:
    if not isinstance(block, dict):
        return str(block)
    given = cast("dict[str, Any]", block)  # JSON
    if given.get("type") == "text":
        return str(given.get("text"))
    if "data" in given:
        return (
            f"[{given.get('type')}, {given.get('mimeType')}, {len(str(given['data']))} characters]"
        )
    return json.dumps(given, ensure_ascii=False)[:2_000]
