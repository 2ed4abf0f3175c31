"""What the answering of one question needs, and what all kinds share."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from agenthub.adapters.inbound.cli.inbox.questions import Question, is_refusal, path_of
from agenthub.adapters.inbound.cli.inbox.terminal import Terminal
from agenthub.adapters.inbound.cli.inbox.words import short
from agenthub.adapters.inbound.cli.output import Failure, say
from agenthub.adapters.inbound.cli.remote import Remote

LATE = frozenset({"request_decided", "request_expired"})
HOPELESS = (401, 404)


class Outcome(Enum):
    """What became of a question that was put to the person."""

    ANSWERED = auto()
    LEFT = auto()
    TOO_LATE = auto()


@dataclass(frozen=True, slots=True)
class Desk:
    """`now` is in UTC."""

    hub: Remote
    terminal: Terminal
    now: Callable[[], datetime]

    def send(self, question: Question, deed: str, body: dict[str, Any]) -> Any:
        """Answer a question. Raises Failure."""
        return self.hub.post(path_of(question, deed), body)

    def edit_json(self, data: Any) -> Any:
        """Let the person change data in an editor, until it is JSON or they give up."""
        text = json.dumps(data, indent=2, ensure_ascii=False)
        while True:
            text = self.terminal.edit(text, ".json")
            try:
                return json.loads(text)
            except ValueError as error:
                say(f"That is no JSON: {error}")
                self.terminal.read("Press Enter to edit it again, Ctrl-C to give up. ")


def is_late(failure: Failure) -> bool:
    """Say whether somebody else was faster, or nobody is waiting any more."""
    return (failure.problem or {}).get("code") in LATE


def say_refusal(failure: Failure) -> None:
    """Print why the hub takes no such answer; raises where no other one can do better."""
    if failure.problem is None or is_late(failure) or is_refusal(failure, *HOPELESS):
        raise failure
    say("The hub does not take that:")
    for line in str(failure).splitlines():
        say(f"  {short(line, 300)}")


def pick(fields: dict[str, Any]) -> dict[str, Any]:
    """Keep what was given."""
    return {name: value for name, value in fields.items() if value is not None}
