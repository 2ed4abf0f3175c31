"""agenthub definitions: what was accepted of a server's tools, and what changed since."""

import sys
from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import SERVERS, Json, Name
from agenthub.adapters.inbound.cli.output import Failure, WrongUse, say, say_json, table
from agenthub.adapters.inbound.cli.remote import Remote, segment
from agenthub.adapters.inbound.cli.session import remote_of

SHOWN = 12
"""Digits of a digest that a person gets to see."""


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(help="Tools that changed after they were accepted.", no_args_is_help=True)
    app.command()(ls)
    app.command()(accept)
    return app


def ls(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Argument(help="Default: what waits at all servers.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List a server's tools, and what changed of them; `!` marks what is risky."""
    if server is None:
        _list_waiting(context, as_json=as_json)
        return
    with remote_of(context) as hub:
        found = hub.items(_path(server))
    if as_json:
        say_json(found)
        return
    table(("TOOL", "ERA", "STATE", "DIGEST", "SINCE", "BY"), [_row(one) for one in found])
    for definition in found:
        _say_changes(definition)


def accept(
    context: typer.Context,
    server: Name,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Its name at its server.")],
    digest: Annotated[
        str | None, typer.Option(help="Only the change with this DIGEST of `definitions ls`.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Accept the change of a tool, so that agents may use it again."""
    is_sure = yes or digest is not None
    if not is_sure and (as_json or not sys.stdin.isatty()):
        raise WrongUse("Nobody can be asked here: give --digest, or --yes for any change.")
    with remote_of(context) as hub:
        waiting = _waiting(hub, server, tool, digest)
        for definition in waiting.values():
            if not as_json:
                _say_changes(definition)
        if not is_sure:
            typer.confirm(f"Accept this of {server}'s {tool}?", abort=True)
        path = f"{_path(server)}/{segment(tool)}/accept"
        answers = [hub.post(path, {"digest": one}) for one in waiting]
    say_json(answers[-1]["items"]) if as_json else say(f"{tool} is accepted.")


def _list_waiting(context: typer.Context, *, as_json: bool) -> None:
    """List what has changed at all servers, and not been accepted."""
    found: list[tuple[str, dict[str, Any]]] = []
    with remote_of(context) as hub:
        for name in [one["name"] for one in hub.items(SERVERS)]:
            found += [(name, one) for one in hub.items(_path(name)) if one["pending_digest"]]
    if as_json:
        say_json([{"server": name, **one} for name, one in found])
        return
    if not found:
        say("No tool of any server has changed since it was accepted.")
        return
    table(
        ("SERVER", "TOOL", "ERA", "STATE", "DIGEST", "SINCE", "BY"),
        [[name, *_row(one)] for name, one in found],
    )
    for _, definition in found:
        _say_changes(definition)


def _waiting(hub: Remote, server: str, tool: str, digest: str | None) -> dict[str, dict[str, Any]]:
    mine = [one for one in hub.items(_path(server)) if one["tool"] == tool]
    pending = {one["pending_digest"]: one for one in mine if one["pending_digest"]}
    waiting = {key: one for key, one in pending.items() if key.startswith(digest or "")}
    if not waiting:
        raise Failure(f"No such change of {tool!r} waits; see 'agenthub definitions ls {server}'.")
    return waiting


def _row(one: dict[str, Any]) -> list[str]:
    known = (one["tool"], one["era"], one["state"])
    if one["pending_digest"]:
        return [*known, one["pending_digest"][:SHOWN], one["pending_since"], ""]
    return [*known, one["digest"][:SHOWN], one["accepted_at"], one["accepted_by"]]


def _say_changes(definition: dict[str, Any]) -> None:
    if definition["changes"]:
        say(f"\n{definition['tool']} ({definition['era']}) changed:")
    for change in definition["changes"]:
        say(f" {'!' if change['risky'] else ' '} {change['path']}")
        for mark, text in (("-", change["before"]), ("+", change["after"])):
            if text is not None:
                say(f"     {mark} {text}")


def _path(server: str) -> str:
    return f"{SERVERS}/{segment(server)}/definitions"
