"""Reads the server lists of other MCP clients: Claude Desktop, Claude Code, Cursor, VS Code."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from agenthub.adapters.inbound.cli.output import Failure

KINDS = {
    "http": "streamable-http",
    "sse": "sse",
    "stdio": "stdio",
    "streamable-http": "streamable-http",
    "streamableHttp": "streamable-http",
}
VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
STRING_OR_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])')


@dataclass(frozen=True, slots=True)
class Found:
    """One server of a client's configuration: its name there, and what to register."""

    original: str
    body: dict[str, Any]


def read_servers(
    text: str, environment: Mapping[str, str] | None = None
) -> tuple[list[Found], list[str]]:
    """Find the servers in a configuration file's text (JSON, comments allowed).

    `${VAR}`, `${env:VAR}` and `${VAR:-default}` are filled in from the environment. Gives the
    servers that can be registered, and for each other one what is wrong with it. Raises Failure
    for a text that is no configuration.
    """
    variables = os.environ if environment is None else environment
    found: dict[str, Found] = {}
    refused: list[str] = []
    for original, raw in _servers_of(_parse(text)).items():
        try:
            one = Found(original, _body(original, raw, variables))
        except (TypeError, ValueError, KeyError) as error:
            refused.append(f"{original}: {error}")
            continue
        name = one.body["name"]
        if name in found:
            refused.append(f"{original}: {found[name].original!r} is named {name!r} too; rename it")
        else:
            found[name] = one
    return list(found.values()), refused


def _parse(text: str) -> Any:
    """Parse JSON with comments and trailing commas, as VS Code writes it."""
    bare = STRING_OR_COMMENT.sub(lambda m: m[0] if m[0].startswith('"') else " ", text)
    bare = STRING_OR_COMMA.sub(lambda m: m[0] if m[0].startswith('"') else "", bare)
    try:
        return json.loads(bare)
    except (ValueError, RecursionError) as error:
        raise Failure(f"This is no JSON: {error}") from error


def _servers_of(data: Any) -> dict[str, Any]:
    top = _object(data)
    for place in (top, _object(top.get("mcp"))):
        for name in ("mcpServers", "servers"):
            if isinstance(place.get(name), dict):
                return _object(place[name])
    raise Failure('No servers found: expected {"mcpServers": {...}} or {"servers": {...}}.')


def _object(value: Any) -> dict[str, Any]:
    """Give a JSON object, empty for anything else."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _body(name: str, raw: Any, variables: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise TypeError("is not an object")
    entry = _object(_filled(raw, variables))
    stated = entry.get("type") or entry.get("transport")
    implied = "stdio" if "command" in entry else "streamable-http"
    kind = KINDS.get(str(stated)) if stated else implied
    if kind is None:
        raise ValueError(f"unknown type {stated!r}")
    transport: dict[str, Any] = {"type": kind}
    if kind == "stdio":
        transport["command"] = entry["command"] if "command" in entry else _missing("command")
        transport["args"] = entry.get("args") or []
        transport["env"] = _texts(entry.get("env"))
        transport["cwd"] = entry.get("cwd")
    else:
        url = entry.get("url") or entry.get("serverUrl")
        transport["url"] = url or _missing("url")
        transport["headers"] = _texts(entry.get("headers"))
    enabled = not entry.get("disabled", False)
    return {"name": slug(name), "transport": transport, "enabled": enabled}


def _texts(value: Any) -> dict[str, str]:
    return {name: str(text) for name, text in _object(value).items()}


def _missing(field: str) -> str:
    raise ValueError(f"has no {field!r}")


def slug(name: str) -> str:
    """Make a server name of any text. Raises ValueError when nothing is left of it."""
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    text = re.sub(r"^[^a-z]+", "", text)[:32].rstrip("-")
    if not text:
        raise ValueError("its name holds no letter a to z; rename it")
    return text


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    """Fill in environment variables in all texts of a value."""
    if isinstance(value, str):
        if "${input:" in value:
            raise ValueError(f"{value!r} is asked for by VS Code; put the value or ${{VAR}} there")
        return VARIABLE.sub(lambda match: _variable(match, variables), value)
    if isinstance(value, list):
        return [_filled(one, variables) for one in cast(list[Any], value)]
    if isinstance(value, dict):
        return {name: _filled(one, variables) for name, one in _object(value).items()}
    return value


def _variable(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name = match[1]
    default: str | None = match[2]
    value = variables.get(name) or default
    if value is None:
        raise ValueError(f"the variable {name} is not set; set it and import again")
    return value
