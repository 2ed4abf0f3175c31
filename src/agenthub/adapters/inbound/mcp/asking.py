"""What an agent declared that it can be asked, and what to say when it cannot."""

import json
from collections.abc import Mapping
from typing import Any

from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Question

ELICIT = "elicitation/create"
SAMPLE = "sampling/createMessage"


def can_be_asked(capabilities: Mapping[str, Any]) -> bool:
    """Say whether the agent declared anything that a server might ask."""
    return "elicitation" in capabilities or "sampling" in capabilities


def require_answerable(capabilities: Mapping[str, Any], question: Question) -> None:
    """Raise UnanswerableError unless the agent declared what this question needs."""
    missing = _missing(capabilities, question)
    if missing is not None:
        raise UnanswerableError(
            f"The server {question.server!r} asks for {_NOUN.get(question.method, 'something')}, "
            f"but this agent did not declare the capability {missing!r}; connect with a client "
            f"that supports it."
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
    if not isinstance(declared, dict):
        return "elicitation"
    if params.get("mode", "form") == "url":
        return None if "url" in declared else "elicitation.url"
    return None if "form" in declared or "url" not in declared else "elicitation.form"


def _missing_sampling(declared: Any, params: dict[str, Any]) -> str | None:
    if not isinstance(declared, dict):
        return "sampling"
    if ("tools" in params or "toolChoice" in params) and "tools" not in declared:
        return "sampling.tools"
    return None
