"""What an agent declared that it can be asked, and what to say when it cannot."""

import json
from collections.abc import Mapping
from typing import Any

from agenthub.adapters.inbound.mcp.shapes import is_array, is_object
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Question

ELICIT = "elicitation/create"
SAMPLE = "sampling/createMessage"


def can_be_asked(capabilities: Mapping[str, Any]) -> bool:
    """Say whether the agent declared anything that a server might ask."""
    return "elicitation" in capabilities or "sampling" in capabilities


class UndeclaredError(UnanswerableError):
    """A question to an agent that did not declare what it needs: `missing`, as `name.part`."""

    def __init__(self, message: str, *missing: str) -> None:
        super().__init__(message)
        self.missing = missing

    @property
    def required(self) -> dict[str, dict[str, Any]]:
        """What the agent would have to declare, in the shape of MCP's `ClientCapabilities`."""
        required: dict[str, dict[str, Any]] = {}
        for capability in self.missing:
            name, _, part = capability.partition(".")
            required.setdefault(name, {}).update({part: {}} if part else {})
        return required


def is_answerable(capabilities: Mapping[str, Any], question: Question) -> bool:
    """Say whether the agent declared what this question needs, and it is its to answer."""
    return question.is_attributed and _missing(capabilities, question) is None


def require_answerable(capabilities: Mapping[str, Any], *questions: Question) -> None:
    """Raise UndeclaredError unless the agent declared what these questions need.

    UnanswerableError for a question that may be another agent's.
    """
    for question in questions:
        if not question.is_attributed:
            raise UnanswerableError(
                f"The server {question.server!r} asks while it works for several agents, and"
                " nothing says which of them it means; call again when it has less to do."
            )
    lacking = [(one, what) for one in questions if (what := _missing(capabilities, one))]
    if lacking:
        question = lacking[0][0]
        missing = tuple(dict.fromkeys(what for _, what in lacking))
        raise UndeclaredError(
            f"The server {question.server!r} asks for {_NOUN.get(question.method, 'something')}, "
            f"but this agent did not declare the capability {', '.join(map(repr, missing))}; "
            f"connect with a client that supports it.",
            *missing,
        )


def unreachable(question: Question) -> UnanswerableError:
    """Make the error for an agent that could answer, but cannot be reached any more."""
    return UnanswerableError(
        f"The server {question.server!r} asks for {_NOUN.get(question.method, 'something')}, "
        f"but the agent that called has no open stream to be asked on; call again and keep it open."
    )


_NOUN = {ELICIT: "input from the user (elicitation)", SAMPLE: "a model's answer (sampling)"}


def _missing(capabilities: Mapping[str, Any], question: Question) -> str | None:
    params: dict[str, Any] = json.loads(question.params or b"{}")
    match question.method:
        case "elicitation/create":
            return _missing_elicitation(capabilities.get("elicitation"), params)
        case "sampling/createMessage":
            return _missing_sampling(capabilities.get("sampling"), params)
        case _:
            return question.method.partition("/")[0]


def _missing_elicitation(declared: Any, params: dict[str, Any]) -> str | None:
    """An empty `elicitation` means form mode, as before 2025-11-25 there was no other."""
    if params.get("mode", "form") == "url":
        return None if is_object(declared) and "url" in declared else "elicitation.url"
    if not is_object(declared):
        return "elicitation"
    return None if "form" in declared or "url" not in declared else "elicitation.form"


def _missing_sampling(declared: Any, params: dict[str, Any]) -> str | None:
    if "tools" in params or "toolChoice" in params:
        return None if is_object(declared) and "tools" in declared else "sampling.tools"
    return None if is_object(declared) else "sampling"


def fits(question: Question, response: bytes) -> bool:
    """Say whether an agent's answer has the shape that the question asks for.

    Elicited content is checked for its required members and their primitive types; the server
    checks the rest.
    """
    answer: Any = json.loads(response)
    if not is_object(answer):
        return False
    if question.method != ELICIT:
        return all(name in answer for name in ("role", "content", "model"))
    params: dict[str, Any] = json.loads(question.params or b"{}")
    if answer.get("action") != "accept" or params.get("mode", "form") != "form":
        return answer.get("action") in ("accept", "decline", "cancel")
    return _content_fits(params.get("requestedSchema"), answer.get("content"))


_PRIMITIVES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "array": (list,),
}


def _content_fits(schema: Any, content: Any) -> bool:
    # clients leave the content of an empty form away
    content = {} if content is None else content
    if not is_object(content):
        return False
    if not is_object(schema):
        return True
    required, properties = schema.get("required"), schema.get("properties")
    if is_array(required) and any(name not in content for name in required):
        return False
    return not is_object(properties) or all(
        _value_fits(properties[name], value)
        for name, value in content.items()
        if name in properties
    )


def _value_fits(schema: Any, value: Any) -> bool:
    kind: Any = schema.get("type") if is_object(schema) else None
    allowed = _PRIMITIVES.get(kind) if isinstance(kind, str) else None
    if allowed is None:
        return True
    return isinstance(value, allowed) and (kind == "boolean" or not isinstance(value, bool))
