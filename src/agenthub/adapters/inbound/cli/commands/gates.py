"""agenthub gate: the guards of a server as they are now, and moving its breakers by hand."""

from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.breakers import GATES
from agenthub.adapters.inbound.cli.commands.servers import Json, Name
from agenthub.adapters.inbound.cli.output import say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

Instance = Annotated[
    str | None, typer.Option("--instance", metavar="ID", help="Only this instance; default: all.")
]


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(help="Circuit breakers and limits of a server.", no_args_is_help=True)
    app.command()(show)
    app.command()(reset)
    app.command("force-open")(force_open)
    app.command()(disable)
    return app


def show(context: typer.Context, server: Name, as_json: Json = False) -> None:
    """Show what stands between calls and a server now."""
    with remote_of(context) as hub:
        gate = hub.get(f"{GATES}/{segment(server)}")
    _say(gate, as_json=as_json)


def reset(
    context: typer.Context, server: Name, instance: Instance = None, as_json: Json = False
) -> None:
    """Close its breakers, and forget its failures and pauses."""
    _move(context, server, "reset", instance, as_json=as_json)


def force_open(
    context: typer.Context, server: Name, instance: Instance = None, as_json: Json = False
) -> None:
    """Let no call through until a reset."""
    _move(context, server, "force-open", instance, as_json=as_json)


def disable(
    context: typer.Context, server: Name, instance: Instance = None, as_json: Json = False
) -> None:
    """Switch its breakers off until a reset: every call goes through, whatever happens."""
    _move(context, server, "disable", instance, as_json=as_json)


def breaker_words(breaker: dict[str, Any]) -> str:
    """Say a breaker's state, and when it lets a call through again if that is known."""
    wait_s = breaker["retry_after_s"]
    if not wait_s:
        return breaker["state"]
    return f"{breaker['state']} {wait_s:.0f} s" if wait_s >= 1 else f"{breaker['state']} <1 s"


def _move(
    context: typer.Context, server: str, lever: str, instance: str | None, *, as_json: bool
) -> None:
    body = None if instance is None else {"instance": instance}
    with remote_of(context) as hub:
        gate = hub.post(f"{GATES}/{segment(server)}/{lever}", body)
    _say(gate, as_json=as_json)


def _say(gate: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(gate)
        return
    heads = ("INSTANCE", "BREAKER", "FAILED", "IN FLIGHT", "QUEUED", "PAUSED")
    table(heads, [_instance_row(one) for one in gate["instances"]])
    if gate["tools"]:
        say()
        rows = [
            [one["tool"], one["instance"], breaker_words(one["breaker"]), _failed(one["breaker"])]
            for one in gate["tools"]
        ]
        table(("TOOL", "INSTANCE", "BREAKER", "FAILED"), rows)
    limiter = gate["limiter"]
    if limiter is not None:
        rate, burst = limiter["rate_per_s"], limiter["burst"]
        say(f"\n{rate:g} calls a second, {burst} at once; {limiter['tokens']:.1f} are left now.")


def _instance_row(one: dict[str, Any]) -> list[str]:
    breaker = one["breaker"]
    paused = f"{one['paused_for_s']:.0f} s" if one["paused_for_s"] else "-"
    state = f"{breaker_words(breaker)}{' (draining)' if one['draining'] else ''}"
    return [one["id"], state, _failed(breaker), str(one["in_flight"]), str(one["queued"]), paused]


def _failed(breaker: dict[str, Any]) -> str:
    return f"{breaker['failures']} of {breaker['calls']}"
