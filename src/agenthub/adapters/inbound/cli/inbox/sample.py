"""Servers that ask for a model's answer: edited, estimated, let pass, looked over, delivered."""

from typing import Any

from agenthub.adapters.inbound.cli.inbox.desk import (
    Desk,
    Outcome,
    say_refusal,
)
from agenthub.adapters.inbound.cli.inbox.questions import Question, path_of
from agenthub.adapters.inbound.cli.inbox.terminal import choose
from agenthub.adapters.inbound.cli.inbox.words import quote_json, say_result, short
from agenthub.adapters.inbound.cli.output import Failure, say

LOOK_S = 0.5
"""How often it is looked whether the model has answered."""
_CHOICES = {
    "a": "approve: ask the model and deliver its answer",
    "r": "review: ask the model, and look at its answer first",
    "m": "change the model",
    "t": "change how many tokens it may use",
    "p": "change the system prompt",
    "e": "edit the messages",
    "x": "reject",
    "s": "skip: leave it for later",
}
_REVIEW = {
    "d": "deliver this answer",
    "e": "edit it",
    "x": "reject: deliver none",
    "s": "skip: leave it for later",
}


def sample(desk: Desk, question: Question) -> Outcome:
    """Put a question to the person. Raises Failure where the hub refuses."""
    if question["in_review"]:
        return _review(desk, question)
    decision: dict[str, Any] = {}
    while True:
        _say_estimate(desk, question, decision)
        key = choose(desk.terminal, _CHOICES)
        if key == "s":
            return Outcome.LEFT
        if key == "x":
            return _rejected(desk, question)
        if key not in ("a", "r"):
            _edit(desk, question, decision, key)
            continue
        try:
            approve(desk, question, decision | {"review": key == "r"})
        except Failure as failure:
            say_refusal(failure)
            continue
        return _ended(desk, answered(desk, question))


def approve(desk: Desk, question: Question, decision: dict[str, Any]) -> Any:
    """Let the model be asked; it answers later. Raises Failure."""
    return desk.send(question, "approve", decision)


def answered(desk: Desk, question: Question) -> Question:
    """Wait until the model has answered, or the question has ended otherwise."""
    while True:
        now = desk.hub.get(path_of(question))
        if now["status"] != "approved" or now["in_review"]:
            return now
        desk.terminal.pause(LOOK_S)


def deliver(desk: Desk, question: Question, result: dict[str, Any] | None = None) -> Any:
    """Send the answer to the server, or `result` in its place. Raises Failure."""
    return desk.send(question, "deliver", {} if result is None else {"result": result})


def reject(desk: Desk, question: Question, reason: str) -> Any:
    """Refuse the question, or its answer. Raises Failure."""
    return desk.send(question, "reject", {"reason": reason})


def say_ended(question: Question) -> None:
    """Print what became of a question that has ended."""
    if question["status"] != "completed":
        say(f"It is {question['status']}: {short(question['reason'], 300) or 'no reason is given'}")
        return
    say_result(question["result"])
    cost = question["cost_usd"]
    say(f"It was delivered. Cost: {'unknown' if cost is None else f'{cost} USD'}.")


def _ended(desk: Desk, question: Question) -> Outcome:
    if question["in_review"]:
        return _review(desk, question)
    say_ended(question)
    return Outcome.ANSWERED


def _review(desk: Desk, question: Question) -> Outcome:
    result: dict[str, Any] | None = None
    say_result(question["result"])
    while True:
        key = choose(desk.terminal, _REVIEW)
        if key == "s":
            return Outcome.LEFT
        if key == "x":
            return _rejected(desk, question)
        if key == "e":
            result = desk.edit_json(question["result"] if result is None else result)
            quote_json(result)
            continue
        try:
            deliver(desk, question, result)
        except Failure as failure:
            say_refusal(failure)
        else:
            say("The answer is delivered.")
            return Outcome.ANSWERED


def _rejected(desk: Desk, question: Question) -> Outcome:
    reject(desk, question, desk.terminal.read("Why? The server reads it: "))
    say("It is rejected.")
    return Outcome.ANSWERED


def _edit(desk: Desk, question: Question, decision: dict[str, Any], key: str) -> None:
    """Change one part of what the model would be sent."""
    asked = question["question"]
    if key == "m":
        decision["model"] = desk.terminal.read("Model: ") or None
    elif key == "t":
        _set_tokens(decision, desk.terminal.read("At most so many tokens: "))
    elif key == "p":
        prompt = decision.get("system_prompt", asked["system_prompt"]) or ""
        decision["system_prompt"] = desk.terminal.edit(prompt, ".txt").strip()
    else:
        decision["messages"] = desk.edit_json(decision.get("messages", asked["messages"]))
    if decision.get("model", "") is None:
        del decision["model"]


def _set_tokens(decision: dict[str, Any], text: str) -> None:
    if text.isdecimal() and int(text) > 0:
        decision["max_tokens"] = int(text)
    else:
        say("That is no number above 0.")


def _say_estimate(desk: Desk, question: Question, decision: dict[str, Any]) -> None:
    """Say which model would be asked, and what that can cost at most."""
    try:
        found = desk.send(question, "estimate", decision)
    except Failure as failure:
        say_refusal(failure)
        return
    most = found["most_usd"]
    cost = "of unknown price" if most is None else f"at most {most} USD"
    say(
        f"  would ask {short(found['model'])}: about {found['prompt_tokens']} tokens in, "
        f"at most {found['max_tokens']} out, {cost}"
    )
