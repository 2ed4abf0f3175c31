"""Calls that a policy holds back: let pass once or for longer, with other arguments, or denied."""

from typing import Any, cast

from agenthub.adapters.inbound.cli.inbox.desk import (
    Desk,
    Outcome,
    pick,
    say_refusal,
)
from agenthub.adapters.inbound.cli.inbox.questions import Question
from agenthub.adapters.inbound.cli.inbox.terminal import choose, is_sure
from agenthub.adapters.inbound.cli.inbox.words import quote_json
from agenthub.adapters.inbound.cli.output import Failure, say

ONCE, CONVERSATION, ALWAYS = "once", "conversation", "always"
_CHOICES = {
    "y": "yes, this once",
    "c": "yes, for this conversation",
    "a": "yes, always (a rule that 'agenthub rules ls' shows)",
    "e": "edit the arguments",
    "n": "no: deny it",
    "s": "skip: leave it for later",
}
_REMEMBER = {"y": ONCE, "c": CONVERSATION, "a": ALWAYS}


def approve(desk: Desk, question: Question) -> Outcome:
    """Put a call to the person. Raises Failure where the hub refuses."""
    arguments: dict[str, Any] | None = None
    while True:
        match choose(desk.terminal, _CHOICES):
            case "s":
                return Outcome.LEFT
            case "n":
                deny(desk, question, desk.terminal.read("Why? The agent reads it: "))
                say("The call is denied.")
                return Outcome.ANSWERED
            case "e":
                arguments = _edited(desk, question, arguments)
            case key:
                if _is_taken(desk, question, _REMEMBER[key], arguments):
                    return Outcome.ANSWERED


def allow(
    desk: Desk, question: Question, remember: str, arguments: dict[str, Any] | None = None
) -> Any:
    """Let the call pass. Raises Failure."""
    body = pick({"arguments": arguments, "remember": remember})
    return desk.send(question, "approve", body)


def deny(desk: Desk, question: Question, reason: str, remember: str = ONCE) -> Any:
    """Deny the call. Raises Failure."""
    return desk.send(question, "deny", {"reason": reason, "remember": remember})


def _is_taken(
    desk: Desk, question: Question, remember: str, arguments: dict[str, Any] | None
) -> bool:
    try:
        allow(desk, question, remember, arguments)
    except Failure as failure:
        say_refusal(failure)
        return False
    say("The call goes on.")
    return True


def _edited(
    desk: Desk, question: Question, arguments: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Let the person change the arguments; None: they are as the agent gave them."""
    given = question["question"]["arguments"]
    found = desk.edit_json(given if arguments is None else arguments)
    if not isinstance(found, dict):
        say("Arguments are a JSON object; nothing is changed.")
        return arguments
    changed = cast("dict[str, Any]", found)  # JSON
    if changed == given:
        say("The arguments are as the agent gave them.")
        return None
    say("The call would be made with:")
    quote_json(changed)
    return changed if is_sure(desk.terminal, "Keep this change?") else arguments
