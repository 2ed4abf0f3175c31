"""Endpoints: the MCP servers behind the hub, how they are reached and how they are doing."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from agenthub.domain.exceptions import FieldFault, InvalidError
from agenthub.domain.ids import EndpointId, WorkspaceId

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

DENIED_ENV = frozenset(
    {"PATH", "NODE_OPTIONS", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "BASH_ENV", "ENV"}
    | {"PERL5OPT", "PERL5LIB", "RUBYOPT", "RUBYLIB", "JAVA_TOOL_OPTIONS", "IFS", "SHELLOPTS"}
)
"""Variables that turn an allowed program into another one; LD_* and DYLD_* are denied as well."""

DENIED_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept"}
    | {"keep-alive", "upgrade", "te", "trailer", "expect", "proxy-connection"}
    | {"mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"}
)
"""Headers that belong to the protocol and so to the hub."""


class Era(StrEnum):
    """Which side of the 2026-07-28 revision a connection speaks."""

    LEGACY = "legacy"
    MODERN = "modern"


class EraChoice(StrEnum):
    """What the registration says of an endpoint's era; AUTO finds out."""

    AUTO = "auto"
    LEGACY = "legacy"
    MODERN = "modern"

    def admits(self, era: Era) -> bool:
        return self is EraChoice.AUTO or self.value == era.value


class HttpKind(StrEnum):
    STREAMABLE = "streamable-http"
    SSE = "sse"


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioTransport:
    """A process of the hub's own. `env` may hold secrets."""

    command: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTransport:
    """A server over HTTP. `headers` may hold secrets."""

    url: str
    kind: HttpKind = HttpKind.STREAMABLE
    headers: dict[str, str] = field(default_factory=dict[str, str])


Transport = StdioTransport | HttpTransport


class ConnectionStatus(StrEnum):
    """How an endpoint is doing, as a person reads it."""

    CONNECTING = "connecting"
    READY = "ready"
    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A registered MCP server. Construction checks every rule and raises InvalidError."""

    id: EndpointId
    workspace: WorkspaceId
    name: str
    transport: Transport
    era: EraChoice = EraChoice.AUTO
    tags: tuple[str, ...] = ()
    enabled: bool = True
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        faults = [*_name_faults(self.name), *_tag_faults(self.tags)]
        match self.transport:
            case StdioTransport():
                faults += _stdio_faults(self.transport)
            case HttpTransport():
                faults += _http_faults(self.transport)
                if self.transport.kind is HttpKind.SSE and self.era is EraChoice.MODERN:
                    faults.append(FieldFault(("era",), "HTTP+SSE exists in the legacy era only"))
        if faults:
            text = "; ".join(f"{'.'.join(map(str, f.loc))}: {f.message}" for f in faults)
            raise InvalidError(text, faults=tuple(faults), code="invalid_server")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """What is known of an endpoint's connection. `eras` are the ones it has answered in."""

    status: ConnectionStatus
    eras: tuple[Era, ...] = ()
    protocol_version: str | None = None
    server_info: dict[str, Any] | None = None
    capabilities: dict[str, Any] = field(default_factory=dict[str, Any])
    instructions: str | None = None
    last_error: str | None = None
    since: datetime | None = None


def _name_faults(name: str) -> list[FieldFault]:
    if NAME.fullmatch(name):
        return []
    return [FieldFault(("name",), "must match ^[a-z][a-z0-9-]{0,31}$")]


def _tag_faults(tags: tuple[str, ...]) -> list[FieldFault]:
    bad = [tag for tag in tags if not 0 < len(tag) <= 64 or _has_control(tag)]
    return [FieldFault(("tags",), "each tag has 1 to 64 printable characters")] if bad else []


def _stdio_faults(transport: StdioTransport) -> list[FieldFault]:
    where = "transport"
    faults: list[FieldFault] = []
    if not transport.command.strip() or _has_control(transport.command):
        faults.append(FieldFault((where, "command"), "must name a program, without line breaks"))
    for index, arg in enumerate(transport.args):
        if "\x00" in arg:
            faults.append(FieldFault((where, "args", index), "must not hold a NUL character"))
    for name, value in transport.env.items():
        if not ENV_NAME.fullmatch(name):
            faults.append(FieldFault((where, "env", name), "is no variable name"))
        elif name.upper() in DENIED_ENV or name.upper().startswith(("LD_", "DYLD_")):
            faults.append(FieldFault((where, "env", name), "may not be set for a server"))
        elif "\x00" in value:
            faults.append(FieldFault((where, "env", name), "must not hold a NUL character"))
    if transport.cwd is not None and (not transport.cwd.startswith("/") or "\x00" in transport.cwd):
        faults.append(FieldFault((where, "cwd"), "must be an absolute path"))
    return faults


def _http_faults(transport: HttpTransport) -> list[FieldFault]:
    faults = [FieldFault(("transport", "url"), text) for text in url_faults(transport.url)]
    for name, value in transport.headers.items():
        if not HEADER_NAME.fullmatch(name):
            faults.append(FieldFault(("transport", "headers", name), "is no header name"))
        elif name.lower() in DENIED_HEADERS or name.lower().startswith("mcp-param-"):
            faults.append(FieldFault(("transport", "headers", name), "is set by the hub itself"))
        elif _has_control(value) or not value.isascii():
            faults.append(
                FieldFault(("transport", "headers", name), "must be printable ASCII on one line")
            )
    return faults


def url_faults(url: str) -> list[str]:
    """Say what keeps `url` from being the address of a server; empty when nothing does."""
    if _has_control(url) or " " in url:
        return ["must not hold spaces or control characters"]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return [f"is no URL: {error}"]
    if parts.scheme not in ("http", "https"):
        return ["must begin with http:// or https://"]
    if not parts.hostname or port == 0:
        return ["must name a host"]
    if parts.username is not None or parts.password is not None:
        return ["must not hold a user or password; use headers"]
    if parts.fragment:
        return ["must not hold a fragment"]
    return []


def _has_control(text: str) -> bool:
    return any(ord(char) < 32 or ord(char) == 127 for char in text)
