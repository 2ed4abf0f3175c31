"""agenthub inbox: what waits for a person, and its answers."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.inbox.approve import approve
from agenthub.adapters.inbound.cli.inbox.desk import Desk, Outcome, is_late
from agenthub.adapters.inbound.cli.inbox.elicit import elicit
from agenthub.adapters.inbound.cli.inbox.given import Given, answer_given
from agenthub.adapters.inbound.cli.inbox.questions import KINDS, Question, find, waiting
from agenthub.adapters.inbound.cli.inbox.sample import sample, say_ended
from agenthub.adapters.inbound.cli.inbox.watching import Watch
from agenthub.adapters.inbound.cli.inbox.words import (
    ENDED_HEADS,
    HEADS,
    became,
    row,
    say_question,
    say_result,
)
from agenthub.adapters.inbound.cli.output import Failure, WrongUse, complain, say, say_json, table
from agenthub.adapters.inbound.cli.session import Session

RequestId = Annotated[str, typer.Argument(metavar="ID", help="Of 'agenthub inbox ls'.")]
Accept = Annotated[bool, typer.Option("--accept", help="A server's question: yes.")]
Words = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A field of its form.")
]
ContentFile = Annotated[
    str | None,
    typer.Option("--json-content", metavar="FILE", help="The whole form as JSON; - reads stdin."),
]
Decline = Annotated[bool, typer.Option("--decline", help="A server's question: no.")]
Cancel = Annotated[bool, typer.Option("--cancel", help="A server's question: neither.")]
Approve = Annotated[bool, typer.Option("--approve", help="Let a call pass, or a model be asked.")]
Always = Annotated[bool, typer.Option("--always", help="For calls: from now on too.")]
Conversation = Annotated[
    bool, typer.Option("--conversation", help="For calls: for this conversation too.")
]
ArgumentsFile = Annotated[
    str | None,
    typer.Option("--arguments", metavar="FILE", help="Call with these instead; - reads stdin."),
]
Review = Annotated[
    bool, typer.Option("--review", help="With --approve: look at the model's answer first.")
]
EditsFile = Annotated[
    str | None,
    typer.Option(
        "--edits",
        metavar="FILE",
        help="With --approve, as JSON: messages, system_prompt, model, max_tokens.",
    ),
]
Deliver = Annotated[bool, typer.Option("--deliver", help="Send a reviewed answer.")]
ResultFile = Annotated[
    str | None, typer.Option("--result", metavar="FILE", help="With --deliver: this answer.")
]
Deny = Annotated[
    str | None, typer.Option("--deny", "--reject", metavar="REASON", help="Refuse it.")
]
_FLOWS = {"approval": approve, "elicitation": elicit, "sampling": sample}


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(
        help="Questions that wait for a person; without a command: go through them one by one.",
        invoke_without_command=True,
    )
    app.callback()(inbox)
    for command in (ls, show, answer, watch):
        app.command()(command)
    return app


def inbox(context: typer.Context, as_json: Json = False) -> None:
    """Questions that wait for a person; without a command: go through them one by one."""
    session: Session = context.obj
    if context.invoked_subcommand is not None:
        return
    if as_json or not session.terminal.is_there:
        _list(session, as_json=as_json)
        return
    with session.connect() as hub:
        desk = Desk(hub, session.terminal, session.now)
        found = waiting(hub)
        if not found:
            say("Nothing waits for you.")
        for number, question in enumerate(found, 1):
            say(f"\n{number} of {len(found)}")
            _put_aside(desk, question["id"])


def ls(
    context: typer.Context,
    kind: Annotated[
        str | None, typer.Option(help=f"Only these: {', '.join(KINDS)}; also those that ended.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="With --kind: pending, approved, completed, rejected, ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what waits for a person, the oldest first."""
    session: Session = context.obj
    if kind is None and status is None:
        _list(session, as_json=as_json)
        return
    if kind not in KINDS:
        need = "--status goes with --kind, which is" if kind is None else "--kind is"
        raise WrongUse(f"{need} one of {', '.join(KINDS)}.")
    with session.connect() as hub:
        found = hub.items(KINDS[kind].path, status=status)
    _say_list(session, found, as_json=as_json, heads=ENDED_HEADS, none="There is no such question.")


def show(context: typer.Context, request_id: RequestId, as_json: Json = False) -> None:
    """Show all of one question."""
    session: Session = context.obj
    with session.connect() as hub:
        question = find(hub, request_id)
    if as_json:
        say_json(question)
    else:
        say_question(question, session.now())


def answer(
    context: typer.Context,
    request_id: RequestId,
    accept: Accept = False,
    set_: Words = None,
    json_content: ContentFile = None,
    decline: Decline = False,
    cancel: Cancel = False,
    approve_: Approve = False,
    always: Always = False,
    conversation: Conversation = False,
    arguments: ArgumentsFile = None,
    review: Review = False,
    edits: EditsFile = None,
    deliver: Deliver = False,
    result: ResultFile = None,
    deny: Deny = None,
    as_json: Json = False,
) -> None:
    """Answer a question: by options, or asked step by step where there are none."""
    deeds = {"accept": accept, "decline": decline, "cancel": cancel, "approve": approve_}
    files = {"json_content": json_content, "arguments": arguments, "edits": edits, "result": result}
    given = Given(
        deeds=deeds | {"deliver": deliver, "deny": deny is not None},
        words=tuple(set_ or ()),
        files=files,
        remember={"always": always, "conversation": conversation},
        review=review,
        reason=deny or "",
    )
    _answer(context.obj, request_id, given, as_json=as_json)


def watch(context: typer.Context, as_json: Json = False) -> None:
    """Follow what comes and goes, until interrupted; with --json one object a line."""
    session: Session = context.obj
    try:
        Watch(session.connect, session.terminal, session.now, as_json=as_json).run()
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _answer(session: Session, request_id: str, given: Given, *, as_json: bool) -> None:
    deed = given.deed()
    if deed is None and (as_json or not session.terminal.is_there):
        raise WrongUse("Nobody can be asked here: say the answer, such as --accept or --approve.")
    with session.connect() as hub:
        desk = Desk(hub, session.terminal, session.now)
        if deed is None:
            if _put(desk, request_id) is Outcome.TOO_LATE:
                raise typer.Exit(1)
            return
        done = answer_given(desk, find(hub, request_id), deed, given)
    say_json(done) if as_json else _say_done(done)
    if done["status"] in ("failed", "expired"):
        raise typer.Exit(1)


def _put_aside(desk: Desk, request_id: str) -> None:
    """Put one of several questions; one that the hub refuses holds up no other."""
    try:
        _put(desk, request_id)
    except Failure as failure:
        if failure.problem is None:
            raise
        complain(str(failure))


def _put(desk: Desk, request_id: str) -> Outcome:
    """Put one question to the person, as it is now."""
    question = find(desk.hub, request_id)
    say_question(question, desk.now())
    if question["status"] != "pending" and not question.get("in_review"):
        say(f"It is {became(question)} already.")
        return Outcome.TOO_LATE
    try:
        return _FLOWS[question["kind"]](desk, question)
    except Failure as failure:
        if not is_late(failure):
            raise
        complain(f"Too late: {failure}")
        return Outcome.TOO_LATE


def _list(session: Session, *, as_json: bool) -> None:
    with session.connect() as hub:
        found = waiting(hub)
    _say_list(session, found, as_json=as_json)


def _say_list(
    session: Session,
    found: list[Question],
    *,
    as_json: bool,
    heads: Sequence[str] = HEADS,
    none: str = "Nothing waits for you.",
) -> None:
    if as_json:
        say_json(found)
    elif not found:
        say(none)
    else:
        now = session.now()
        table(heads, [row(question, now) for question in found])


def _say_done(done: Question) -> None:
    """Say what became of a question that was answered by options."""
    asked = done["question"]
    if done.get("in_review"):
        say_result(done["result"])
        say(f"Send it with 'agenthub inbox answer {done['id']} --deliver', or --reject it.")
    elif done["kind"] == "sampling":
        say_ended(done)
    else:
        say(f"{done['id']} is {became(done)}.")
    if done["kind"] == "elicitation" and asked["mode"] == "url" and _is_agreed(done):
        say(f"Open it yourself: {asked['url']}")


def _is_agreed(done: Question) -> bool:
    result: dict[str, Any] = done["result"] or {}
    return result.get("action") == "accept"
