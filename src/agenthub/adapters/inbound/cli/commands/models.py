"""agenthub ask, models."""

import sys
from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import (
    Failure,
    clean,
    complain,
    say,
    say_json,
    table,
    wait_words,
)
from agenthub.adapters.inbound.cli.session import remote_of

MODELS = "/api/models"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (ask, models):
        app.command()(command)


def ask(
    context: typer.Context,
    words: Annotated[str, typer.Argument(metavar="TEXT", help="What to ask; - reads it.")],
    model: Annotated[str | None, typer.Option(help="Default: the hub's own.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
) -> None:
    """Ask the language model behind the hub. Its words go to stdout, what they cost to stderr."""
    text = sys.stdin.read() if words == "-" else words
    body = {"messages": [{"role": "user", "content": text}], "stream": True}
    body |= {name: v for name, v in (("model", model), ("max_tokens", max_tokens)) if v is not None}
    with remote_of(context) as hub:
        for event, data in hub.told(f"{MODELS}/complete", body):
            _show(event, data)


def _show(event: str, data: dict[str, Any]) -> None:
    match event:
        case "text":
            typer.echo(clean(data["text"]), nl=False)
        case "cost":
            say()
            complain(_bill(data))
        case "error":
            say()
            wait_s = data.get("retry_after_s")
            wait = "" if wait_s is None else f"\nTry again in {wait_words(wait_s)}."
            raise Failure(f"{data['detail']}{wait}", problem=data)
        case _:
            pass


def _bill(data: dict[str, Any]) -> str:
    price = "price unknown" if data["cost_usd"] is None else f"{data['cost_usd']} USD"
    tokens = data["tokens"]
    if tokens is None:
        return f"{price} (estimated; the provider told no usage)"
    return f"{price} ({tokens['prompt']} tokens in, {tokens['completion']} out)"


def models(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="Words of the name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    as_json: Json = False,
) -> None:
    """List language models and what a million of their tokens cost in dollars."""
    with remote_of(context) as hub:
        items = hub.get(MODELS, query=query, limit=limit)["items"]
    if as_json:
        say_json(items)
        return
    rows = [
        [
            one["name"] + (" *" if one["is_default"] else ""),
            one["input_usd_per_million"] or "unknown",
            one["output_usd_per_million"] or "unknown",
        ]
        for one in items
    ]
    table(("MODEL", "IN", "OUT"), rows)
