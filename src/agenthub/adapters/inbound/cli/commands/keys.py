"""agenthub key: make, list and revoke API keys."""

from typing import Annotated

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import complain, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

KEYS = "/api/keys"


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(help="API keys.", no_args_is_help=True)
    app.command()(add)
    app.command()(ls)
    app.command()(rm)
    return app


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="May be given several times; see the docs.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Bind it to this group.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="When it ends (RFC 3339).")] = None,
    as_json: Json = False,
) -> None:
    """Make a key for an agent. Its secret is shown once."""
    scopes = scope or ["tools:call", "resources:read", "prompts:get"]
    body = {"name": name, "scopes": scopes, "group": group, "expires_at": expires_at}
    with remote_of(context) as hub:
        key = hub.post(KEYS, body)
    if as_json:
        say_json(key)
        return
    say(key["secret"])
    complain(f"Key {key['id']} ({', '.join(key['scopes'])}). The secret is not shown again.")


def ls(context: typer.Context, as_json: Json = False) -> None:
    """List the keys."""
    with remote_of(context) as hub:
        keys = hub.items(KEYS)
    if as_json:
        say_json(keys)
        return
    rows = [
        [k["id"], k["name"], k["prefix"], " ".join(k["scopes"]), k.get("expires_at") or "never"]
        for k in keys
    ]
    table(("ID", "NAME", "PREFIX", "SCOPES", "EXPIRES"), rows)


def rm(context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Revoke a key at once."""
    with remote_of(context) as hub:
        hub.delete(f"{KEYS}/{segment(key_id)}")
    say(f"{key_id} is revoked.")
