"""Questions of servers: a form is filled in, an address is visited, or neither."""

from typing import Any

from agenthub.adapters.inbound.cli.inbox.desk import Desk, Outcome, say_refusal
from agenthub.adapters.inbound.cli.inbox.forms import fill_in, shown
from agenthub.adapters.inbound.cli.inbox.questions import Question
from agenthub.adapters.inbound.cli.inbox.terminal import choose, is_sure
from agenthub.adapters.inbound.cli.inbox.words import short
from agenthub.adapters.inbound.cli.output import Failure, say
from agenthub.domain.entities.hitl.form import Form, parse_form
from agenthub.domain.exceptions import InvalidError

_REFUSALS = {"d": "decline: tell the server no", "c": "cancel: tell it nothing was chosen"}
_LEAVE = {"s": "skip: leave the question for later"}
_ACTIONS = {"d": "decline", "c": "cancel"}


def form_of(question: Question) -> Form:
    """Read the form of a question. Raises Failure for one that cannot be shown."""
    try:
        return parse_form(question["question"]["requested_schema"])
    except InvalidError as error:
        raise Failure(f"This form cannot be filled in, only declined: {error.message}") from error


def is_url(question: Question) -> bool:
    """Say whether the server wants an address visited."""
    return question["question"]["mode"] == "url"


def _is_readable(question: Question) -> bool:
    """Say whether it can be accepted; the warnings tell why not."""
    asked = question["question"]
    if is_url(question):
        return asked["url"] is not None
    try:
        form_of(question)
    except Failure:
        return False
    return True


def elicit(desk: Desk, question: Question) -> Outcome:
    """Put a question to the person. Raises Failure where the hub refuses."""
    accept = {"v": "visit: agree to it"} if is_url(question) else {"a": "answer"}
    accept = accept if _is_readable(question) else {}
    key = choose(desk.terminal, accept | _REFUSALS | _LEAVE)
    if key == "s":
        return Outcome.LEFT
    if key in _ACTIONS:
        respond(desk, question, _ACTIONS[key])
        say("The server is told.")
        return Outcome.ANSWERED
    return _visit(desk, question) if is_url(question) else _fill_in(desk, question)


def respond(
    desk: Desk, question: Question, action: str, content: dict[str, Any] | None = None
) -> Any:
    """Send the person's answer. Raises Failure."""
    body: dict[str, Any] = {"action": action}
    if content is not None:
        body["content"] = content
    return desk.send(question, "respond", body)


def _fill_in(desk: Desk, question: Question) -> Outcome:
    form = form_of(question)
    content = fill_in(desk.terminal, form, {})
    while True:
        _say_content(form, content)
        if not is_sure(desk.terminal, f"Send this to {question['server']}?"):
            if not is_sure(desk.terminal, "Change it?"):
                return Outcome.LEFT
            content = fill_in(desk.terminal, form, content)
            continue
        try:
            respond(desk, question, "accept", content)
        except Failure as failure:
            say_refusal(failure)
            content = fill_in(desk.terminal, form, content, _faulty(form, failure))
        else:
            say("The answer is sent.")
            return Outcome.ANSWERED


def _visit(desk: Desk, question: Question) -> Outcome:
    """The hub never fetches the address; a browser is opened behind a yes only."""
    asked = question["question"]
    if not is_sure(desk.terminal, f"Agree to visit {short(str(asked['host']), 255)}?"):
        return Outcome.LEFT
    respond(desk, question, "accept")
    say("The server is told that you agreed.")
    is_opened = is_sure(desk.terminal, "Open it in a browser now?") and desk.terminal.browse(
        asked["url"]
    )
    if not is_opened:
        say(f"Open it yourself: {asked['url']}")
    return Outcome.ANSWERED


def _say_content(form: Form, content: dict[str, Any]) -> None:
    say()
    for field in form.fields:
        value = shown(field, content[field.name]) if field.name in content else "(left out)"
        say(f"  {short(field.name, 40)}: {short(value, 300)}")


def _faulty(form: Form, failure: Failure) -> set[str]:
    """Give the fields that the hub named; all where it named none."""
    faults: list[dict[str, Any]] = (failure.problem or {}).get("errors") or []
    named = {str(part) for fault in faults for part in fault["loc"]}
    return named & {field.name for field in form.fields}
