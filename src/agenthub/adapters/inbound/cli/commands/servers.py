"""agenthub add, import, ls, rm, refresh, enable, disable."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.client_config import Found, read_servers
from agenthub.adapters.inbound.cli.commands.breakers import GATES, status_of
from agenthub.adapters.inbound.cli.output import Failure, WrongUse, complain, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

SERVERS = "/api/mcp/servers"
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="SERVER", help="The server's name or id.")]
Target = Annotated[
    list[str], typer.Argument(help="A URL, or a command with its arguments behind --.")
]
Sse = Annotated[bool, typer.Option("--sse", help="The URL speaks the old HTTP+SSE.")]
Env = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="For a command.")
]
Header = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="For a URL.")
]
Cwd = Annotated[str | None, typer.Option(help="The command's working folder.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    settings = {"ignore_unknown_options": True}
    app.command(context_settings=settings)(add)
    app.command("import")(import_config)
    for command in (ls, rm, refresh, enable, disable):
        app.command()(command)


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name: a-z, 0-9 and '-', at most 32.")],
    target: Target,
    sse: Sse = False,
    env: Env = None,
    header: Header = None,
    cwd: Cwd = None,
    era: Annotated[str, typer.Option(help="auto, legacy or modern.")] = "auto",
    tag: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Keep it only if it answers.")] = False,
    as_json: Json = False,
) -> None:
    """Register a server: `agenthub add time -- mcp-server-time` or `agenthub add x https://…`."""
    transport = transport_of(target, sse, env, header, cwd)
    body = {"name": name, "transport": transport, "era": era, "tags": tag or []}
    with remote_of(context) as hub:
        server = hub.post(SERVERS, body, verify="true" if verify else None)
        if as_json:
            say_json(server)
        else:
            _say_server(server)


def transport_of(
    target: list[str],
    sse: bool,
    env: list[str] | None,
    header: list[str] | None,
    cwd: str | None,
) -> dict[str, Any]:
    """Read where a server is: at a URL, or behind a command. Raises WrongUse."""
    if target[0].startswith(("http://", "https://")):
        if len(target) > 1 or env or cwd:
            raise WrongUse("A URL takes no arguments, --env or --cwd.")
        kind = "sse" if sse else "streamable-http"
        return {"type": kind, "url": target[0], "headers": _pairs(header, ":", "--header")}
    if "://" in target[0]:
        raise WrongUse(f"{target[0]!r} is no address of a server: it begins with http(s)://.")
    if header or sse:
        raise WrongUse("--header and --sse go with a URL.")
    transport: dict[str, Any] = {"type": "stdio", "command": target[0], "args": target[1:]}
    return transport | {"env": _pairs(env, "=", "--env"), "cwd": cwd}


def import_config(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A client's configuration file, or - for stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is found.")] = False,
    as_json: Json = False,
) -> None:
    """Register all servers of a Claude Desktop, Claude Code, Cursor or VS Code configuration."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"Cannot read {file}: {error}") from error
    found, refused = read_servers(text)
    if dry_run:
        shown = [_without_secrets(one.body) for one in found]
        say_json(shown) if as_json else [_say_found(one) for one in found]
        _end_import(refused)
        return
    done: list[Any] = []
    with remote_of(context) as hub:
        for one in found:
            try:
                done.append(hub.post(SERVERS, one.body))
            except Failure as failure:
                refused.append(f"{one.original}: {failure}")
    say_json({"registered": done, "refused": refused}) if as_json else _say_servers(done)
    _end_import(refused)


def _end_import(refused: list[str]) -> None:
    for reason in refused:
        complain(f"not registered: {reason}")
    if refused:
        raise typer.Exit(1)


def ls(
    context: typer.Context,
    server: Annotated[str | None, typer.Argument(help="List this server's items.")] = None,
    as_json: Json = False,
) -> None:
    """List the servers, or what one of them offers."""
    with remote_of(context) as hub:
        if server is None:
            servers = hub.items(SERVERS)
            if as_json:
                say_json(servers)
            else:
                _say_servers(servers, {one["id"]: one for one in hub.items(GATES)})
            return
        place = f"{SERVERS}/{segment(server)}"
        kinds = ("tools", "resources", "resource-templates", "prompts")
        found = {kind: hub.items(f"{place}/{kind}") for kind in kinds}
    if as_json:
        say_json(found)
        return
    rows = [
        [kind.rstrip("s"), str(_key(item)), _short(item.get("description"))]
        for kind, items in found.items()
        for item in items
    ]
    table(("KIND", "NAME", "WHAT IT DOES"), rows)


def rm(context: typer.Context, server: Name) -> None:
    """Remove a server."""
    with remote_of(context) as hub:
        hub.delete(f"{SERVERS}/{segment(server)}")
    say(f"{server} is removed.")


def refresh(context: typer.Context, server: Name, as_json: Json = False) -> None:
    """Reach a server again and read its lists anew."""
    with remote_of(context) as hub:
        answer = hub.post(f"{SERVERS}/{segment(server)}/refresh")
    say_json(answer) if as_json else _say_server(answer)


def enable(context: typer.Context, server: Name, as_json: Json = False) -> None:
    """Connect a disabled server again."""
    _switch(context, server, on=True, as_json=as_json)


def disable(context: typer.Context, server: Name, as_json: Json = False) -> None:
    """Keep a server, but do not connect it."""
    _switch(context, server, on=False, as_json=as_json)


def _switch(context: typer.Context, server: str, *, on: bool, as_json: bool) -> None:
    with remote_of(context) as hub:
        answer = hub.patch(f"{SERVERS}/{segment(server)}", {"enabled": on})
    say_json(answer) if as_json else _say_server(answer)


def _pairs(given: list[str] | None, mark: str, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given or []:
        name, found, value = text.partition(mark)
        if not found:
            raise WrongUse(f"{option} takes NAME{mark}VALUE.")
        pairs[name.strip()] = value.strip() if mark == ":" else value
    return pairs


def _say_server(server: dict[str, Any]) -> None:
    _say_servers([server])
    if server.get("last_error"):
        say(f"  {server['last_error']}")
        say(f"  See: agenthub doctor {server['name']}")


def _say_servers(
    servers: list[dict[str, Any]], gates: dict[str, dict[str, Any]] | None = None
) -> None:
    rows = [
        [
            one["name"],
            status_of(one, (gates or {}).get(one["id"])),
            one.get("protocol_version") or "-",
            *(str(one["counts"].get(kind, 0)) for kind in ("tools", "resources", "prompts")),
            place_of(one["transport"]),
        ]
        for one in servers
    ]
    table(("SERVER", "STATUS", "PROTOCOL", "TOOLS", "RESOURCES", "PROMPTS", "WHERE"), rows)


def place_of(transport: dict[str, Any]) -> str:
    """Say where a server is."""
    if transport["type"] == "stdio":
        return shlex.join([transport["command"], *transport["args"]])
    return transport["url"]


def _say_found(one: Found) -> None:
    off = "" if one.body["enabled"] else " (disabled)"
    say(f"{one.body['name']}: {place_of(one.body['transport'])}{off}")


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    transport = dict(body["transport"])
    for name in ("env", "headers"):
        if name in transport:
            transport[name] = dict.fromkeys(transport[name])
    return {**body, "transport": transport}


def _key(item: dict[str, Any]) -> Any:
    return item.get("uri") or item.get("uriTemplate") or item.get("name")


def _short(text: Any) -> str:
    line = " ".join(str(text or "").split())
    return line if len(line) <= 80 else f"{line[:79]}…"
