"""What a request of 2026-07-28 must carry besides its method: `_meta`, and headers that mirror it.

An agent that contradicts itself is told so before it is told that its revision is unknown, as
the SDKs do.
Source: MCP 2026-07-28, basic/index "_meta" and basic/transports/streamable-http.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agenthub.adapters.inbound.mcp.envelope import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    INVALID_PARAMS,
    LEVEL_KEY,
    VERSION_KEY,
    FaultyMessageError,
    Message,
    Request,
    Response,
)
from agenthub.adapters.inbound.mcp.mirrors import Mirror, decode_header, mirrors_of
from agenthub.adapters.inbound.mcp.shapes import is_object
from agenthub.adapters.inbound.mcp.versions import is_modern, require_modern

HEADER_MISMATCH = -32020
Headers = Iterable[tuple[bytes, bytes]]

_VERSION = b"mcp-protocol-version"
_METHOD = b"mcp-method"
_NAME = b"mcp-name"
_PARAM = b"mcp-param-"
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_MODERN_ONLY = frozenset({"server/discover", "subscriptions/listen"})
_LEVELS = frozenset(
    {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}
)


def speaks_modern(headers: Headers, message: Message) -> bool:
    """Say whether a POST is of the modern era: its `_meta`, version header or method says so.

    `initialize` is legacy unless it names a modern revision, which has no such method.
    """
    if not isinstance(message, Response):
        claimed = message.meta.protocol_version
        if message.method == "initialize":
            if isinstance(claimed, str) and is_modern(claimed):
                return True
        elif claimed is not None or message.method in _MODERN_ONLY:
            return True
    version = next((value for name, value in headers if name == _VERSION), b"")
    return is_modern(_read(version))


def check_modern_meta(request: Request) -> str:
    """Give the revision that the request claims.

    Raises FaultyMessageError -32602 (HTTP 400) for a required member that is missing, or one
    of the wrong type.
    """
    meta = request.meta
    if not isinstance(meta.protocol_version, str):
        raise _bad_meta(request, f"{VERSION_KEY} must be there and be a string")
    if not is_object(meta.capabilities):
        raise _bad_meta(request, f"{CAPABILITIES_KEY} must be there and be an object")
    if meta.client_info is not None and not is_object(meta.client_info):
        raise _bad_meta(request, f"{CLIENT_KEY} must be an object")
    level = meta.log_level
    if level is not None and not (isinstance(level, str) and level in _LEVELS):
        raise _bad_meta(request, f"{LEVEL_KEY} must be a log level of RFC 5424")
    return meta.protocol_version


def check_modern_headers(
    headers: Headers, request: Request, tool_definition: Mapping[str, Any] | None = None
) -> None:
    """Compare the headers (ASGI form, lower-case names) with the body they mirror.

    `tool_definition` is that of the exposed tool of a tools/call, for `Mcp-Param-*`. Over the
    namespaced endpoint Mcp-Name holds the exposed name. Raises FaultyMessageError -32020, and
    -32022 for a revision that the hub does not speak.
    """
    sent = _sent(headers, request)
    _require(request, sent, _VERSION, request.meta.protocol_version)
    _require(request, sent, _METHOD, request.method)
    member = _NAMED_BY.get(request.method)
    name = None if member is None else request.values.get(member)
    if isinstance(name, str):
        _require(request, sent, _NAME, name, may_be_encoded=True)
    if tool_definition is not None:
        for mirror in mirrors_of(tool_definition):
            _check_param(request, sent, mirror)
    require_modern(request.meta.protocol_version, request.id)


def _sent(headers: Headers, request: Request) -> dict[bytes, str]:
    """Collect the mirroring headers. One sent twice is read differently by different readers."""
    sent: dict[bytes, str] = {}
    for name, value in headers:
        if not name.startswith(b"mcp-"):
            continue
        if name in sent and (name in (_VERSION, _METHOD, _NAME) or name.startswith(_PARAM)):
            raise _mismatch(request, f"{_shown(name)} header appears more than once")
        sent[name] = _read(value)
    return sent


def _read(value: bytes) -> str:
    """Blanks around a value are none of it (RFC 9110, 5.5); httptools hands on those behind."""
    return value.decode("latin-1").strip(" \t")


def _require(
    request: Request,
    sent: Mapping[bytes, str],
    header: bytes,
    expected: Any,
    *,
    may_be_encoded: bool = False,
) -> None:
    value = sent.get(header)
    if value is None:
        raise _mismatch(request, f"{_shown(header)} header is missing")
    decoded = decode_header(value) if may_be_encoded else value
    if decoded != expected:
        raise _mismatch(request, f"{_shown(header)} header value {value!r} does not match the body")


def _check_param(request: Request, sent: Mapping[bytes, str], mirror: Mirror) -> None:
    value = mirror.value_in(request.values.get("arguments"))
    header = sent.get(mirror.header)
    shown = _shown(mirror.header)
    if value is None:
        if header is not None:
            raise _mismatch(request, f"{shown} header mirrors no argument of the body")
        return
    if header is None:
        raise _mismatch(request, f"{shown} header is missing")
    if not mirror.matches(value, header):
        raise _mismatch(request, f"{shown} header value {header!r} does not match the body")


def _shown(header: bytes) -> str:
    name = header.decode("latin-1").title()
    return name.replace("Mcp-Protocol", "MCP-Protocol")


def _bad_meta(request: Request, what: str) -> FaultyMessageError:
    return FaultyMessageError(
        INVALID_PARAMS, f"Invalid params: in params._meta, {what}.", raw_id=request.id
    )


def _mismatch(request: Request, what: str) -> FaultyMessageError:
    return FaultyMessageError(HEADER_MISMATCH, f"Header mismatch: {what}", raw_id=request.id)
