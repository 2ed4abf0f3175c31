"""An answer that was given by options, for scripts and for those in a hurry."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agenthub.adapters.inbound.cli.inbox import approve, elicit, sample
from agenthub.adapters.inbound.cli.inbox.desk import Desk
from agenthub.adapters.inbound.cli.inbox.forms import content_of
from agenthub.adapters.inbound.cli.inbox.questions import Question
from agenthub.adapters.inbound.cli.output import Failure, WrongUse

DEEDS = {
    "elicitation": ("accept", "decline", "cancel"),
    "approval": ("approve", "deny"),
    "sampling": ("approve", "deliver", "deny"),
}
_GOES_WITH = {
    "json_content": ("elicitation", "accept"),
    "words": ("elicitation", "accept"),
    "arguments": ("approval", "approve"),
    "edits": ("sampling", "approve"),
    "review": ("sampling", "approve"),
    "result": ("sampling", "deliver"),
    "remember": ("approval", ""),
}
_OPTIONS = {
    "words": "--set",
    "remember": "--always and --conversation",
    "json_content": "--json-content",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The options of one answer, by name; those that were not given are false or None."""

    deeds: Mapping[str, bool]
    words: tuple[str, ...]
    files: Mapping[str, str | None]
    remember: Mapping[str, bool]
    review: bool
    reason: str

    def deed(self) -> str | None:
        """Give what is to be done, None where nothing was said. Raises WrongUse."""
        chosen = [name for name, is_chosen in self.deeds.items() if is_chosen]
        if len(chosen) > 1 or sum(self.remember.values()) > 1:
            raise WrongUse("Give one answer, not several.")
        if not chosen and self.extras():
            chosen_extra = _OPTIONS.get(self.extras()[0], f"--{self.extras()[0]}")
            raise WrongUse(f"{chosen_extra} goes with an answer, such as --accept or --approve.")
        return chosen[0] if chosen else None

    def extras(self) -> list[str]:
        """Name what was given beside the answer."""
        given: dict[str, Any] = {
            **self.files,
            "words": self.words,
            "review": self.review,
            "remember": any(self.remember.values()),
        }
        return [name for name, value in given.items() if value]

    def lasting(self) -> str:
        """Say for how long the answer holds."""
        return next((name for name, is_chosen in self.remember.items() if is_chosen), approve.ONCE)


def answer_given(desk: Desk, question: Question, deed: str, given: Given) -> Any:
    """Answer as the options say; gives the question as it is then. Raises WrongUse, Failure."""
    kind = question["kind"]
    if deed not in DEEDS[kind]:
        fitting = ", ".join(f"--{one}" for one in DEEDS[kind])
        raise WrongUse(f"This is a question of kind {kind}: answer with one of {fitting}.")
    for extra in given.extras():
        if _GOES_WITH[extra] not in ((kind, deed), (kind, "")):
            name = _OPTIONS.get(extra, f"--{extra}")
            raise WrongUse(f"{name} does not go with --{deed} of a question of kind {kind}.")
    return _ANSWERS[kind](desk, question, deed, given)


def _elicitation(desk: Desk, question: Question, deed: str, given: Given) -> Any:
    content = None
    if deed == "accept" and not elicit.is_url(question):
        form = elicit.form_of(question)
        content = _object(given, "json_content") or {}
        content |= content_of(form, given.words)
    return elicit.respond(desk, question, deed, content)


def _approval(desk: Desk, question: Question, deed: str, given: Given) -> Any:
    if deed == "deny":
        return approve.deny(desk, question, given.reason, given.lasting())
    return approve.allow(desk, question, given.lasting(), _object(given, "arguments"))


def _sampling(desk: Desk, question: Question, deed: str, given: Given) -> Any:
    if deed == "deny":
        return sample.reject(desk, question, given.reason)
    if deed == "deliver":
        return sample.deliver(desk, question, _object(given, "result"))
    sample.approve(desk, question, (_object(given, "edits") or {}) | {"review": given.review})
    return sample.answered(desk, question)


_ANSWERS = {"elicitation": _elicitation, "approval": _approval, "sampling": _sampling}


def _object(given: Given, name: str) -> dict[str, Any] | None:
    """Read an object of a file; None where no file was named."""
    file = given.files[name]
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        found = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"Cannot read {file}: {error}") from error
    except ValueError as error:
        raise WrongUse(f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise WrongUse(f"{file} must hold a JSON object.")
    return cast("dict[str, Any]", found)  # JSON
