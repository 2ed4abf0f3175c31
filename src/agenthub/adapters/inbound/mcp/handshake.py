"""How the hub introduces itself: the results of `initialize` and `server/discover`."""

from dataclasses import dataclass
from typing import Any

import msgspec

from agenthub.adapters.inbound.mcp.errands import may_list
from agenthub.adapters.inbound.mcp.results import complete_result, server_info
from agenthub.adapters.inbound.mcp.shapes import is_object
from agenthub.adapters.inbound.mcp.versions import (
    MODERN,
    MODERN_VERSIONS,
    has_completions_capability,
    has_extensions,
)
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import EndpointState
from agenthub.domain.entities.groups import Group
from agenthub.domain.entities.identity import Scope
from agenthub.domain.services.catalog.views import CatalogService, View

UI_EXTENSION = "io.modelcontextprotocol/ui"
HOW_NAMES_ARE_MADE = (
    "This hub joins several MCP servers: tools and prompts are named server__name, and resource"
    " URIs begin with server+ (or ui://server/)."
)

_LISTED_BY = {
    "tools": ItemKind.TOOLS,
    "resources": ItemKind.RESOURCES,
    "prompts": ItemKind.PROMPTS,
}


@dataclass(frozen=True, slots=True)
class Introduction:
    """What decides how the hub introduces itself at one path to one principal.

    `state` is that of the one server of an untouched view, None at a joint endpoint.
    """

    view: View
    state: EndpointState | None = None
    group: Group | None = None


def introduce(catalog: CatalogService, view: View) -> Introduction:
    """Gather what the introduction needs. Raises NotFoundError when the server was removed."""
    endpoint = catalog.endpoint_of(view)
    state = None if endpoint is None else catalog.state_of(endpoint)
    return Introduction(view, state, catalog.group_of(view))


def initialize_result(introduction: Introduction, version: str) -> bytes:
    """Make the result of `initialize` for a session of revision `version`."""
    result: dict[str, Any] = {
        "protocolVersion": version,
        "capabilities": capabilities(introduction, version),
        "serverInfo": server_info(version),
    }
    if (words := _instructions(introduction)) is not None:
        result["instructions"] = words
    return msgspec.json.encode(result)


def discover_result(introduction: Introduction) -> bytes:
    """Make the result of `server/discover`. It is not to be kept: servers come and go."""
    result = {
        "supportedVersions": msgspec.json.encode(MODERN_VERSIONS),
        "capabilities": msgspec.json.encode(capabilities(introduction, MODERN)),
        "ttlMs": b"0",
        "cacheScope": b'"private"',
    }
    if (words := _instructions(introduction)) is not None:
        result["instructions"] = msgspec.json.encode(words)
    return complete_result(result, MODERN)


def capabilities(introduction: Introduction, version: str) -> dict[str, Any]:
    """List what this principal can see here.

    At a joint endpoint, and while a server was never reached, everything the hub can carry:
    servers may come while the session lasts.
    """
    everything: dict[str, Any] = {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "prompts": {"listChanged": True},
        "completions": {},
        "logging": {},
    }
    if has_extensions(version):
        everything["extensions"] = {UI_EXTENSION: {}}
    state = introduction.state
    if state is not None and state.eras:
        everything = _of_server(everything, state)
    if not has_completions_capability(version):
        everything.pop("completions", None)
    principal = introduction.view.principal
    if not principal.allows(Scope.PROMPTS_GET):
        everything.pop("completions", None)
    return {
        name: value
        for name, value in everything.items()
        if name not in _LISTED_BY or may_list(principal, _LISTED_BY[name])
    }


def _of_server(everything: dict[str, Any], state: EndpointState) -> dict[str, Any]:
    """Keep what the server has too. Changes of lists are the hub's to tell in any case."""
    theirs = state.capabilities
    kept = {name: value for name, value in everything.items() if name in theirs}
    resources = theirs.get("resources")
    if "resources" in kept and not (is_object(resources) and resources.get("subscribe")):
        kept["resources"] = {"listChanged": True}
    extensions = theirs.get("extensions")
    if "extensions" in kept and not (is_object(extensions) and UI_EXTENSION in extensions):
        del kept["extensions"]
    return kept


def _instructions(introduction: Introduction) -> str | None:
    """Give the server's own words at its own endpoint, the group's description, or the hub's."""
    if introduction.state is not None:
        return introduction.state.instructions
    if introduction.group is not None and introduction.group.description:
        return f"{introduction.group.description}\n\n{HOW_NAMES_ARE_MADE}"
    return HOW_NAMES_ARE_MADE
