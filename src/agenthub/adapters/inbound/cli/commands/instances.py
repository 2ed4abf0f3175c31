"""agenthub instance: further addresses of a server that share its calls."""

from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import (
    SERVERS,
    Cwd,
    Env,
    Header,
    Json,
    Name,
    Sse,
    Target,
    place_of,
    transport_of,
)
from agenthub.adapters.inbound.cli.output import WrongUse, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

InstanceId = Annotated[str, typer.Argument(metavar="INSTANCE", help="Its id: see `instance ls`.")]
Weight = Annotated[int | None, typer.Option(min=1, help="Its part of its priority's calls.")]
Priority = Annotated[int | None, typer.Option(min=0, help="0 is used first.")]
Draining = Annotated[
    bool | None, typer.Option("--drain/--no-drain", help="Whether it takes no new calls.")
]


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(help="Interchangeable instances of a server.", no_args_is_help=True)
    app.command()(ls)
    app.command(context_settings={"ignore_unknown_options": True})(add)
    app.command()(rm)
    app.command("set")(change)
    return app


def ls(context: typer.Context, server: Name, as_json: Json = False) -> None:
    """List a server's instances, its own address first."""
    with remote_of(context) as hub:
        found: list[dict[str, Any]] = hub.get(_path(server))["items"]
    say_json(found) if as_json else _say(found)


def add(
    context: typer.Context,
    server: Name,
    target: Target,
    sse: Sse = False,
    env: Env = None,
    header: Header = None,
    cwd: Cwd = None,
    weight: Weight = None,
    priority: Priority = None,
    as_json: Json = False,
) -> None:
    """Add an address that offers the same tools: `agenthub instance add time https://…`."""
    body: dict[str, Any] = {"transport": transport_of(target, sse, env, header, cwd)}
    body |= _given(weight=weight, priority=priority)
    with remote_of(context) as hub:
        made = hub.post(_path(server), body)
    say_json(made) if as_json else _say([made])


def rm(context: typer.Context, server: Name, instance: InstanceId) -> None:
    """Let an instance finish its calls, then forget it."""
    with remote_of(context) as hub:
        hub.delete(f"{_path(server)}/{segment(instance)}")
    say(f"{instance} is removed.")


def change(
    context: typer.Context,
    server: Name,
    instance: InstanceId,
    weight: Weight = None,
    priority: Priority = None,
    drain: Draining = None,
    as_json: Json = False,
) -> None:
    """Change an instance's part of the calls, or have it drain."""
    patch = _given(weight=weight, priority=priority, draining=drain)
    if not patch:
        raise WrongUse("Say what to change: --weight, --priority, --drain or --no-drain.")
    with remote_of(context) as hub:
        changed = hub.patch(f"{_path(server)}/{segment(instance)}", patch)
    say_json(changed) if as_json else _say([changed])


def _given(**fields: int | None) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _say(found: list[dict[str, Any]]) -> None:
    rows = [
        [
            one["id"],
            "draining" if one["draining"] else "differs" if one["differs"] else one["status"],
            str(one["weight"]),
            str(one["priority"]),
            place_of(one["transport"]),
        ]
        for one in found
    ]
    table(("INSTANCE", "STATUS", "WEIGHT", "PRIORITY", "WHERE"), rows)
    for one in found:
        why = one["differs"] or one["last_error"]
        if why:
            say(f"{one['id']}: {why}")


def _path(server: str) -> str:
    return f"{SERVERS}/{segment(server)}/instances"
