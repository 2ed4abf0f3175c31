"""How the hub introduces itself to a server, and how it reads what the server says of itself."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from agenthub.adapters.outbound.mcp_client.channel import Hello
from agenthub.adapters.outbound.mcp_client.messages import PRIVATE, text_bytes
from agenthub.domain.exceptions import RpcError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject

MODERN_VERSIONS = ("2026-07-28",)
"""Newest first, as everywhere."""

LEGACY_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

UNSUPPORTED_VERSION = -32022
MODERN_ERRORS = frozenset({-32020, -32021, UNSUPPORTED_VERSION})
"""Errors that only a server of the modern era gives."""

UI_EXTENSION = "io.modelcontextprotocol/ui"

_encode = msgspec.json.encode
_read = msgspec.json.Decoder(dict[str, Any]).decode

_CLIENT_INFO = _encode({"name": "agenthub", "title": "AgentHub", "version": version("agenthub")})

_LEGACY_CAPABILITIES = _encode(
    {
        "sampling": {"tools": {}, "context": {}},
        "elicitation": {"form": {}, "url": {}},
        "extensions": {UI_EXTENSION: {"mimeTypes": ["text/html;profile=mcp-app"]}},
    }
)
"""One legacy session serves all agents, so it declares what any of them may be able to do."""

_FORWARDED = ("sampling", "elicitation", "extensions")
_NOT_CARRIED = frozenset({"io.modelcontextprotocol/tasks"})
"""Extensions whose results the hub cannot carry, so no server may think they are understood."""

_LISTENABLE = {
    "tools": "toolsListChanged",
    "prompts": "promptsListChanged",
    "resources": "resourcesListChanged",
}

_VERSION_KEY = PRIVATE + "protocolVersion"
_INFO_KEY = PRIVATE + "clientInfo"
_CAPABILITIES_KEY = PRIVATE + "clientCapabilities"
_LOG_LEVEL_KEY = PRIVATE + "logLevel"
_SERVER_INFO_KEY = PRIVATE + "serverInfo"


class NotModernError(UpstreamError):
    """The server answered, but not as one of the modern era does."""

    code = "server_not_modern"


def initialize_params(protocol_version: str = LEGACY_VERSIONS[0]) -> RawObject:
    """Make the params of `initialize`."""
    return {
        "protocolVersion": text_bytes(protocol_version),
        "capabilities": _LEGACY_CAPABILITIES,
        "clientInfo": _CLIENT_INFO,
    }


def modern_meta(protocol_version: str, caller: Caller | None, meta: RawObject) -> RawObject:
    """Make a modern request's `_meta`: the caller's own, and what the revision demands."""
    capabilities = b"{}" if caller is None else _encode(_forwarded(caller.capabilities))
    full = {
        **meta,
        _VERSION_KEY: text_bytes(protocol_version),
        _INFO_KEY: _CLIENT_INFO,
        _CAPABILITIES_KEY: capabilities,
    }
    if caller is not None and caller.log_level is not None:
        full[_LOG_LEVEL_KEY] = text_bytes(caller.log_level)
    return full


def legacy_hello(result: bytes) -> Hello:
    """Read the result of `initialize`. Raises UpstreamError for one that is none."""
    said = _object(result)
    spoken = said.get("protocolVersion")
    if spoken not in LEGACY_VERSIONS:
        raise UpstreamError(
            f"The server answered initialize with protocol version {str(spoken)[:40]!r}; the hub"
            f" speaks {', '.join(LEGACY_VERSIONS)}.",
            code="server_version",
        )
    return Hello(
        protocol_version=spoken,
        capabilities=_dict(said.get("capabilities")) or {},
        server_info=_dict(said.get("serverInfo")),
        instructions=_str(said.get("instructions")),
        supported_versions=(spoken,),
    )


def modern_hello(result: bytes) -> Hello:
    """Read the result of `server/discover`, and choose the newest common version.

    Raises UpstreamError when it is none, or nothing is in common.
    """
    said = _object(result)
    offered = said.get("supportedVersions")
    if not isinstance(offered, list):
        raise UpstreamError(
            "The server's answer to server/discover lists no versions.", code="server_bad_message"
        )
    versions = tuple(str(one)[:40] for one in offered)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    meta = _dict(said.get("_meta")) or {}
    return Hello(
        protocol_version=common_version(versions),
        capabilities=_dict(said.get("capabilities")) or {},
        server_info=_dict(meta.get(_SERVER_INFO_KEY)),
        instructions=_str(said.get("instructions")),
        supported_versions=versions,
    )


def common_version(offered: tuple[str, ...]) -> str:
    """Choose the newest modern version that both sides speak.

    Raises NotModernError when only legacy ones are common, UpstreamError for none at all.
    """
    for mine in MODERN_VERSIONS:
        if mine in offered:
            return mine
    spoken = ", ".join(offered[:8]) or "no version"
    if any(one in LEGACY_VERSIONS for one in offered):
        raise NotModernError(f"The server speaks {spoken}.")
    raise UpstreamError(
        f"The server speaks {spoken}; the hub speaks {', '.join(MODERN_VERSIONS)}.",
        code="server_version",
    )


def supported_versions(error: RpcError) -> tuple[str, ...]:
    """Read from an UnsupportedProtocolVersion error what the server does speak."""
    data = error.data
    offered = data.get("supported") if isinstance(data, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return tuple(str(one)[:40] for one in offered) if isinstance(offered, list) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def listen_filter(
    capabilities: Mapping[str, Any], resources: frozenset[str]
) -> dict[str, list[str] | bool]:
    """Make the filter of `subscriptions/listen`; empty when there is nothing to hear of."""
    wanted: dict[str, list[str] | bool] = {
        word: True for name, word in _LISTENABLE.items() if name in capabilities
    }
    if resources:
        wanted["resourceSubscriptions"] = sorted(resources)
    return wanted


def _forwarded(capabilities: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: capabilities[name] for name in _FORWARDED if name in capabilities}
    extensions = _dict(kept.get("extensions"))
    if extensions is not None:
        kept["extensions"] = {k: v for k, v in extensions.items() if k not in _NOT_CARRIED}
    return kept


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return _read(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamError(
            "The server's introduction is no JSON object.", code="server_bad_message"
        ) from error


def _dict(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None
