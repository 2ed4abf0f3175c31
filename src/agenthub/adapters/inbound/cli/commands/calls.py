"""agenthub call, read, prompt, collect, tools, events."""

import json
from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import SERVERS, Json
from agenthub.adapters.inbound.cli.held import FIRST_WAIT_S, TICKETS, outcome_of
from agenthub.adapters.inbound.cli.output import WrongUse, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

Pairs = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME=VALUE]…", help="VALUE is JSON or else text.")
]

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="While a person is asked: print the ticket and end.")
]
Ticket = Annotated[str, typer.Argument(metavar="TICKET", help="Of a call that waits.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (call, read, prompt, collect, tools, events):
        app.command()(command)


def call(
    context: typer.Context,
    tool: Annotated[str, typer.Argument(metavar="SERVER__TOOL")],
    pairs: Pairs = None,
    arguments: Annotated[
        str | None, typer.Option("--arguments", "-a", help="All arguments as a JSON object.")
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Call a tool: `agenthub call demo__greet name=Ada`. Exit code 1 when the tool says error."""
    server, name = _split(tool)
    body = {"arguments": _arguments(pairs, arguments)}
    with remote_of(context) as hub:
        path = f"{SERVERS}/{segment(server)}/tools/{segment(name)}"
        found = hub.try_out(path, body, wait_s=0 if no_wait else FIRST_WAIT_S)
        result = outcome_of(hub, found, no_wait=no_wait, as_json=as_json)
    _say_result(result, as_json=as_json)


def read(
    context: typer.Context,
    server: Annotated[str, typer.Argument(metavar="SERVER")],
    uri: Annotated[str, typer.Argument(metavar="URI", help="The server's own URI.")],
    as_json: Json = False,
) -> None:
    """Read a resource."""
    with remote_of(context) as hub:
        path = f"{SERVERS}/{segment(server)}/resources/{segment(uri)}"
        result = outcome_of(hub, hub.collect(path, wait_s=FIRST_WAIT_S))
    if as_json:
        say_json(result)
        return
    for part in result["contents"]:
        size = len(part.get("blob") or "")
        say(part.get("text") or f"[{part.get('mimeType')}, {size} characters of base64]")


def prompt(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SERVER__PROMPT")],
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]…")] = None,
    as_json: Json = False,
) -> None:
    """Render a prompt."""
    server, own = _split(name)
    values = {k: v if isinstance(v, str) else json.dumps(v) for k, v in _named(pairs).items()}
    with remote_of(context) as hub:
        path = f"{SERVERS}/{segment(server)}/prompts/{segment(own)}"
        found = hub.try_out(path, {"arguments": values}, wait_s=FIRST_WAIT_S)
        result = outcome_of(hub, found)
    if as_json:
        say_json(result)
        return
    for message in result["messages"]:
        say(f"{message['role']}: {_text(message['content'])}")


def collect(context: typer.Context, ticket: Ticket, no_wait: NoWait = False) -> None:
    """Print the outcome of a call that waited for a person, as JSON; waits until there is one."""
    with remote_of(context) as hub:
        found = hub.collect(f"{TICKETS}/{segment(ticket)}")
        result = outcome_of(hub, found, no_wait=no_wait)
    _say_result(result, as_json=True)


def tools(
    context: typer.Context,
    query: Annotated[str | None, typer.Argument(help="Rank by these words.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    as_json: Json = False,
) -> None:
    """List or search all tools of all servers."""
    with remote_of(context) as hub:
        items = hub.get("/api/tools", query=query, limit=limit)["items"]
    if as_json:
        say_json(items)
        return
    rows = [[one["name"], " ".join((one.get("description") or "").split())[:80]] for one in items]
    table(("TOOL", "WHAT IT DOES"), rows)


def events(
    context: typer.Context,
    after: Annotated[int | None, typer.Option(help="Begin behind this event id.")] = None,
) -> None:
    """Follow the hub's events, one JSON object a line, until interrupted."""
    with remote_of(context) as hub:
        for event in hub.events(after):
            say(json.dumps(event, ensure_ascii=False))


def _say_result(result: dict[str, Any], *, as_json: bool) -> None:
    blocks: list[dict[str, Any]] = result.get("content") or []
    if as_json:
        say_json(result)
    else:
        for block in blocks:
            say(_text(block))
    if result.get("isError"):
        raise typer.Exit(1)


def _split(name: str) -> tuple[str, str]:
    server, mark, own = name.partition("__")
    if not mark or not own:
        raise WrongUse(f"{name!r} is not of the form SERVER__NAME; see 'agenthub tools'.")
    return server, own


def _arguments(pairs: list[str] | None, whole: str | None) -> dict[str, Any]:
    if whole is None:
        return _named(pairs)
    try:
        given = json.loads(whole)
    except ValueError as error:
        raise WrongUse(f"--arguments is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise WrongUse("--arguments must be a JSON object.")
    return {**given, **_named(pairs)}


def _named(pairs: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs or []:
        name, mark, value = pair.partition("=")
        if not mark:
            raise WrongUse(f"{pair!r} is not of the form NAME=VALUE.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _text(block: dict[str, Any]) -> str:
    if block.get("type") == "text":
        return block["text"]
    return json.dumps(block, ensure_ascii=False)[:2_000]
