"""agenthub policy: what the gateway's guards go by, for the hub, a server or a tool."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeGuard

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import WrongUse, complain, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

GATEWAY = "/api/gateway"
MONEY = "price_usd"
PRICE = "price_nano_usd"

Server = Annotated[str | None, typer.Argument(metavar="SERVER", help="Default: the hub.")]
Tool = Annotated[str | None, typer.Argument(metavar="TOOL", help="The server's own name of it.")]
Words = Annotated[
    list[str],
    typer.Argument(metavar="FIELD=VALUE...", help="Of SERVER, or SERVER and TOOL, before them."),
]


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(
        help="Limits, timeouts, breakers, retries, prices: of the hub, a server, a tool.",
        no_args_is_help=True,
    )
    for command in (show, reset):
        app.command()(command)
    app.command("set")(change)
    return app


def show(
    context: typer.Context, server: Server = None, tool: Tool = None, as_json: Json = False
) -> None:
    """Show a policy, and which of its fields are set here."""
    with remote_of(context) as hub:
        report = hub.get(place_of(server, tool))
    _say(report, as_json=as_json)


def change(context: typer.Context, words: Words, as_json: Json = False) -> None:
    """Change fields: `agenthub policy set time breaker.open_s=10 rate_limit.rate_per_s=5`.

    `none` takes a limit away; `null` forgets what was set, so that it holds as below.
    """
    names, patch = read_words(words)
    with remote_of(context) as hub:
        report = hub.patch(place_of(*names), patch)
    _say(report, as_json=as_json, only=[path for path, _ in fields_of(patch)])


def reset(context: typer.Context, server: Server = None, tool: Tool = None) -> None:
    """Forget what was set at run time."""
    with remote_of(context) as hub:
        hub.delete(place_of(server, tool))
    say(f"The policy of {tool or server or 'the hub'} is as below again.")


def place_of(server: str | None = None, tool: str | None = None) -> str:
    """Give the path of a policy."""
    if server is None:
        return f"{GATEWAY}/policy"
    inner = "" if tool is None else f"/tools/{segment(tool)}"
    return f"{GATEWAY}/servers/{segment(server)}{inner}/policy"


def read_words(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Part the names before the first FIELD=VALUE from the merge patch behind them."""
    first = next((i for i, word in enumerate(words) if "=" in word), len(words))
    names, fields = words[:first], words[first:]
    if len(names) > 2:
        raise WrongUse(f"{names[2]!r} is not of the form FIELD=VALUE.")
    if not fields:
        raise WrongUse("Say what to set: FIELD=VALUE, such as timeout_s=60.")
    patch: dict[str, Any] = {}
    for word in fields:
        path, mark, text = word.partition("=")
        if not mark or not all(path.split(".")):
            raise WrongUse(f"{word!r} is not of the form FIELD=VALUE.")
        _put(patch, path.split("."), _value(path, text))
    return names, patch


def fields_of(document: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Give every field of a policy by its path, as a person writes it."""
    for name, value in document.items():
        if _is_object(value):
            yield from fields_of(value, f"{before}{name}.")
        elif value is None:
            yield f"{before}{name}", "none"
        else:
            yield f"{before}{name}", value if isinstance(value, str) else json.dumps(value)


def _put(patch: dict[str, Any], path: list[str], value: Any) -> None:
    first, *rest = path
    if not rest:
        patch[first] = value
        return
    inner: object = patch.setdefault(first, {})
    if not _is_object(inner):
        raise WrongUse(f"{first} is set as a whole and in parts.")
    _put(inner, rest, value)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _value(path: str, text: str) -> Any:
    """Read a number, a truth value, null; money stays a text, for it is exact."""
    if path == MONEY and text != "null":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def is_among(field: str, paths: list[str]) -> bool:
    """Tell whether a field is one of those, a part of one, or the whole of one."""
    paths = [PRICE if path == MONEY else path for path in paths]
    field = PRICE if field == MONEY else field
    return any(f"{field}.".startswith(f"{path}.") or path.startswith(f"{field}.") for path in paths)


def _say(report: dict[str, Any], *, as_json: bool, only: list[str] | None = None) -> None:
    if as_json:
        say_json(report)
        return
    stored, file = dict(fields_of(report["stored"])), dict(fields_of(report["file"]))
    rows = [
        [field, value, "here" if field in stored else "file" if field in file else ""]
        for field, value in fields_of(report["effective"])
        if only is None or is_among(field, only)
    ]
    table(("FIELD", "VALUE", "SET"), rows)
    for warning in report["warnings"]:
        complain(warning)
