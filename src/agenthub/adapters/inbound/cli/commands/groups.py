"""agenthub group: named sets of servers with endpoints of their own."""

from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import WrongUse, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

GROUPS = "/api/groups"


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(help="Groups of servers.", no_args_is_help=True)
    app.command()(add)
    app.command()(ls)
    app.command()(rm)
    return app


def add(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="Its part of the path: a-z, 0-9 and '-'.")],
    servers: Annotated[
        list[str], typer.Argument(help="SERVER, or SERVER:TOOL to choose single tools.")
    ],
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    description: Annotated[str, typer.Option(help="Agents see it as instructions.")] = "",
    as_json: Json = False,
) -> None:
    """Make a group: `agenthub group add research time fetch:fetch`."""
    body: dict[str, Any] = {"slug": slug, "name": name or slug, "description": description}
    body["members"] = _members(servers)
    with remote_of(context) as hub:
        group = hub.post(GROUPS, body)
        address = hub.address
    say_json(group) if as_json else say(f"{address}/groups/{slug}/mcp")


def ls(context: typer.Context, as_json: Json = False) -> None:
    """List the groups."""
    with remote_of(context) as hub:
        groups = hub.items(GROUPS)
        address = hub.address
    if as_json:
        say_json(groups)
        return
    rows = [
        [
            g["slug"],
            " ".join(m["server"] for m in g["members"]),
            f"{address}/groups/{g['slug']}/mcp",
        ]
        for g in groups
    ]
    table(("GROUP", "SERVERS", "ENDPOINT"), rows)


def rm(context: typer.Context, slug: Annotated[str, typer.Argument(metavar="SLUG")]) -> None:
    """Remove a group, and the keys bound to it."""
    with remote_of(context) as hub:
        hub.delete(f"{GROUPS}/{segment(slug)}")
    say(f"{slug} is removed.")


def _members(given: list[str]) -> list[dict[str, Any]]:
    chosen: dict[str, list[str] | None] = {}
    for text in given:
        server, mark, tool = text.partition(":")
        if mark and not tool:
            raise WrongUse(f"{text!r} is not of the form SERVER or SERVER:TOOL.")
        if not mark:
            chosen[server] = None
        elif (tools := chosen.setdefault(server, [])) is not None:
            tools.append(tool)
    return [_member(server, tools) for server, tools in chosen.items()]


def _member(server: str, tools: list[str] | None) -> dict[str, Any]:
    """Who chooses single tools of a server gives away nothing else of it."""
    if tools is None:
        return {"server": server}
    return {"server": server, "tools": tools, "resources": [], "prompts": []}
