"""Links that a legacy server wants opened before it does a call (its error -32042).

They become a round of questions, as a modern server would ask them; the round has no state, and
its answers are the hub's to read: the server gets the call again as it was.
"""

import json
from typing import Any, cast

from agenthub.domain.exceptions import DeclinedError, RpcError
from agenthub.domain.ports.outbound.mcp_client import InputRequired, Question, RawObject

URL_ELICITATION_REQUIRED = -32042
MAX_LINKS = 16
_MARK = "hub-link-"
_RESPONSES = "inputResponses"


def links_of(error: RpcError, server: str) -> InputRequired | None:
    """Read the links of such an error; None where it is another, or has none."""
    data: Any = error.data
    if error.code != URL_ELICITATION_REQUIRED or not isinstance(data, dict):
        return None
    listed: Any = cast(dict[str, Any], data).get("elicitations")
    if not isinstance(listed, list) or not 0 < len(cast(list[Any], listed)) <= MAX_LINKS:
        return None
    questions = [_question(one, server) for one in cast(list[Any], listed)]
    found = {f"{_MARK}{n}": one for n, one in enumerate(questions, 1) if one is not None}
    return InputRequired(found, None) if len(found) == len(questions) else None


def is_links(needed: InputRequired) -> bool:
    """Say whether a round is one of links."""
    return bool(needed.requests) and all(key.startswith(_MARK) for key in needed.requests)


def without_links(params: RawObject) -> RawObject:
    """Take the answers to links off. Raises DeclinedError unless every link was accepted."""
    raw = params.get(_RESPONSES)
    if raw is None or _MARK.encode() not in raw:
        return params
    given: Any = json.loads(raw)
    if not isinstance(given, dict):
        return params
    answers = cast(dict[str, Any], given)
    if not answers or not all(key.startswith(_MARK) for key in answers):
        return params
    if not all(_is_accepted(one) for one in answers.values()):
        raise DeclinedError(
            "The server wants a link opened before it does this, and that was declined.",
            code="link_declined",
        )
    return {name: value for name, value in params.items() if name != _RESPONSES}


def _is_accepted(answer: Any) -> bool:
    return isinstance(answer, dict) and cast(dict[str, Any], answer).get("action") == "accept"


def _question(listed: Any, server: str) -> Question | None:
    if not isinstance(listed, dict):
        return None
    link = cast(dict[str, Any], listed)
    if not isinstance(link.get("url"), str):
        return None
    params = {"mode": "url", "message": str(link.get("message", "")), "url": link["url"]}
    return Question(server, "elicitation/create", json.dumps(params).encode())
