"""The revisions of MCP that agents may speak to the hub, and what each of them knows."""

from typing import Any

from agenthub.adapters.inbound.mcp.envelope import FaultyMessageError
from agenthub.domain.entities.endpoints import Era

MODERN = "2026-07-28"
LATEST_LEGACY = "2025-11-25"
LEGACY_VERSIONS = (LATEST_LEGACY, "2025-06-18", "2025-03-26", "2024-11-05")
"""Newest first."""
MODERN_VERSIONS = (MODERN,)
ALL_VERSIONS = (*MODERN_VERSIONS, *LEGACY_VERSIONS)
ASSUMED = "2025-03-26"
"""What an agent speaks that sends no `MCP-Protocol-Version` (2025-06-18, basic/transports)."""

UNSUPPORTED_VERSION = -32022


def era_of(version: str) -> Era:
    """Say which era a known revision belongs to."""
    return Era.MODERN if is_modern(version) else Era.LEGACY


def is_modern(version: str) -> bool:
    """Revisions are dates, so they compare as text."""
    return version >= MODERN


def negotiate(requested: str) -> str:
    """Choose the revision of a session: the requested one, else the newest with a handshake."""
    return requested if requested in LEGACY_VERSIONS else LATEST_LEGACY


def require_modern(requested: Any, raw_id: bytes = b"null") -> str:
    """Give a revision without handshake that the hub speaks.

    Raises FaultyMessageError -32022 (HTTP 400), which names the ones of `server/discover`:
    those with a handshake cannot be asked for in this way.
    """
    if isinstance(requested, str) and requested in MODERN_VERSIONS:
        return requested
    raise FaultyMessageError(
        UNSUPPORTED_VERSION,
        "Unsupported protocol version",
        {"supported": list(MODERN_VERSIONS), "requested": requested},
        raw_id=raw_id,
    )


def has_audio(version: str) -> bool:
    return version >= "2025-03-26"


def has_progress_message(version: str) -> bool:
    return version >= "2025-03-26"


def has_tool_annotations(version: str) -> bool:
    return version >= "2025-03-26"


def has_completions_capability(version: str) -> bool:
    return version >= "2025-03-26"


def has_resource_links(version: str) -> bool:
    return version >= "2025-06-18"


def has_structured_content(version: str) -> bool:
    return version >= "2025-06-18"


def has_titles(version: str) -> bool:
    return version >= "2025-06-18"


def has_icons(version: str) -> bool:
    return version >= "2025-11-25"


def has_extensions(version: str) -> bool:
    """Clients of 2025-11-25 know extensions from their separate specifications (MCP Apps)."""
    return version >= "2025-11-25"


def has_content_lists(version: str) -> bool:
    """Whether a sampling message may hold several blocks."""
    return version >= "2025-11-25"


def has_any_structured_content(version: str) -> bool:
    """Whether `structuredContent` may be something else than an object."""
    return is_modern(version)
