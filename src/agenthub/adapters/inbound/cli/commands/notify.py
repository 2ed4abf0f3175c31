"""agenthub notify: who is told of events by webhook, mail or chat."""

from typing import Annotated

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import complain, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

TARGETS = "/api/notifications"
TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="Its name or id.")]


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(help="Notifications by webhook, mail and chat.", no_args_is_help=True)
    app.command()(ls)
    app.command()(add)
    app.command()(rm)
    app.command()(test)
    return app


def ls(context: typer.Context, as_json: Json = False) -> None:
    """List who is notified, and how that goes."""
    with remote_of(context) as hub:
        targets = hub.items(TARGETS)
    if as_json:
        say_json(targets)
        return
    rows = [
        [t["name"], t["address"], "on" if t["enabled"] else "off", t.get("last_fault") or "ok"]
        for t in targets
    ]
    table(("NAME", "ADDRESS", "STATE", "LAST"), rows)


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    address: Annotated[str, typer.Argument(help="A webhook's URL, or an Apprise address.")],
    event: Annotated[
        list[str] | None, typer.Option(help="May be given several times; see the docs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Notify a webhook (http, https), or any mailbox or chat that Apprise knows."""
    is_webhook = address.lower().startswith(("http://", "https://"))
    kind = "webhook" if is_webhook else "apprise"
    body: dict[str, object] = {"name": name, "kind": kind, "address": address}
    if event:
        body["events"] = event
    with remote_of(context) as hub:
        target = hub.post(TARGETS, body)
    if as_json:
        say_json(target)
        return
    if target.get("secret"):
        say(target["secret"])
        complain("This secret signs the notices; it is not shown again.")
    complain(f"{name} is told of {', '.join(target['events'])}.")


def rm(context: typer.Context, target: TargetName) -> None:
    """Notify it no more."""
    with remote_of(context) as hub:
        hub.delete(f"{TARGETS}/{segment(target)}")
    say(f"{target} is told no more.")


def test(context: typer.Context, target: TargetName) -> None:
    """Send one notice now, and say how that went."""
    with remote_of(context) as hub:
        hub.post(f"{TARGETS}/{segment(target)}/test", None)
    say(f"{target} has taken a notice.")
