"""Transports as REST clients write and read them: secrets go in and never come back."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agenthub.domain.entities.endpoints import HttpKind, HttpTransport, StdioTransport, Transport
from agenthub.domain.exceptions import FieldFault, InvalidError

HIDDEN = "***"
"""Stands for a secret in answers; in a change it means: as it is."""

Command = Annotated[str, Field(max_length=4_096)]
Args = Annotated[list[Annotated[str, Field(max_length=65_536)]], Field(max_length=512)]
Url = Annotated[
    str, Field(max_length=8_192, json_schema_extra={"pattern": r"^https?://[A-Za-z0-9.-]+(/|$)"})
]
Value = Annotated[str, Field(max_length=65_536)]
NAMES: dict[str, JsonValue] = {"propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_-]*$"}}
"""The names that every server takes; the hub admits a few more."""
Secrets = Annotated[dict[str, Value], Field(max_length=256, json_schema_extra=NAMES)]
SecretChanges = Annotated[dict[str, Value | None], Field(max_length=256, json_schema_extra=NAMES)]
Shown = Annotated[dict[str, str], Field(description="Names with `***` in place of every value.")]


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid")


class StdioIn(Body):
    """A program that the hub starts and speaks to over its standard input and output."""

    type: Literal["stdio"]
    command: Command
    args: Args = []
    env: Secrets = {}
    cwd: Command | None = None


class HttpIn(Body):
    """A server at an address."""

    type: Literal["streamable-http", "sse"]
    url: Url
    headers: Secrets = {}


TransportIn = Annotated[StdioIn | HttpIn, Field(discriminator="type")]


class TransportPatch(Body):
    """What is to change of a transport.

    In `env` and `headers` a name that is missing, or has the value `***`, stays as it is; null
    removes it. Another `type` of another kind begins from nothing.
    """

    type: Literal["stdio", "streamable-http", "sse"] | None = None
    command: Command | None = None
    args: Args | None = None
    env: SecretChanges | None = None
    cwd: Command | None = None
    url: Url | None = None
    headers: SecretChanges | None = None


class StdioOut(BaseModel):
    type: Literal["stdio"] = "stdio"
    command: str
    args: list[str]
    env: Shown
    cwd: str | None


class HttpOut(BaseModel):
    type: Literal["streamable-http", "sse"]
    url: str
    headers: Shown


TransportOut = Annotated[StdioOut | HttpOut, Field(discriminator="type")]


def read_transport(given: StdioIn | HttpIn) -> Transport:
    """Take a new transport over. Raises InvalidError for a masked secret."""
    match given:
        case StdioIn():
            return StdioTransport(
                command=given.command,
                args=tuple(given.args),
                env=_merged("env", {}, given.env),
                cwd=given.cwd,
            )
        case HttpIn():
            headers = _merged("headers", {}, given.headers)
            return HttpTransport(url=given.url, kind=HttpKind(given.type), headers=headers)


def show_transport(transport: Transport) -> StdioOut | HttpOut:
    """Show a transport without its secrets."""
    match transport:
        case StdioTransport():
            return StdioOut(
                command=transport.command,
                args=list(transport.args),
                env=dict.fromkeys(transport.env, HIDDEN),
                cwd=transport.cwd,
            )
        case HttpTransport():
            headers = dict.fromkeys(transport.headers, HIDDEN)
            return HttpOut(type=transport.kind.value, url=transport.url, headers=headers)


def change_transport(stored: Transport, patch: TransportPatch) -> Transport:
    """Apply a change. Raises InvalidError for fields that do not belong to the type."""
    current = "stdio" if isinstance(stored, StdioTransport) else stored.kind.value
    wanted = patch.type or current
    given = patch.model_fields_set
    if wanted == "stdio":
        _refuse(given & {"url", "headers"}, wanted)
        return _stdio(stored if isinstance(stored, StdioTransport) else None, patch)
    _refuse(given & {"command", "args", "env", "cwd"}, wanted)
    return _http(stored if isinstance(stored, HttpTransport) else None, patch, HttpKind(wanted))


def _stdio(stored: StdioTransport | None, patch: TransportPatch) -> StdioTransport:
    former = stored or StdioTransport(command="")
    return StdioTransport(
        command=former.command if patch.command is None else patch.command,
        args=former.args if patch.args is None else tuple(patch.args),
        env=_merged("env", former.env, patch.env or {}),
        cwd=patch.cwd if "cwd" in patch.model_fields_set else former.cwd,
    )


def _http(stored: HttpTransport | None, patch: TransportPatch, kind: HttpKind) -> HttpTransport:
    former = stored or HttpTransport(url="")
    url = former.url if patch.url is None else patch.url
    # A stored credential is meant for the host it was given for, and goes nowhere else.
    kept = former.headers if _origin(url) == _origin(former.url) else {}
    return HttpTransport(url=url, kind=kind, headers=_merged("headers", kept, patch.headers or {}))


def _origin(url: str) -> str:
    """Give scheme, host and port as they are written."""
    scheme, _, rest = url.lower().partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}"


def _merged(
    field: str, former: dict[str, str], changes: dict[str, str] | dict[str, str | None]
) -> dict[str, str]:
    merged = dict(former)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif value != HIDDEN:
            merged[name] = value
        elif name not in former:
            raise InvalidError.at(
                "transport", field, name, message=f"{HIDDEN} stands for a value not known here"
            )
    return merged


def _refuse(names: set[str], kind: str) -> None:
    if names:
        faults = tuple(
            FieldFault(("transport", name), f"does not belong to {kind!r}")
            for name in sorted(names)
        )
        words = "; ".join(f"transport.{fault.loc[1]}: {fault.message}" for fault in faults)
        raise InvalidError(words, faults=faults)
