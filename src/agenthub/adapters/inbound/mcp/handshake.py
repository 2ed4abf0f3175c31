"""How the hub introduces itself: the results of `initialize` and `server/discover`."""

from dataclasses import dataclass

from agenthub.adapters.inbound.hub import View
from agenthub.domain.entities.endpoints import EndpointState
from agenthub.domain.entities.groups import Group
from agenthub.domain.services.catalog.views import CatalogService


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
    raise NotImplementedError


def initialize_result(introduction: Introduction, version: str) -> bytes:
    """Make the result of `initialize` for a session of revision `version`."""
    raise NotImplementedError


def discover_result(introduction: Introduction) -> bytes:
    """Make the result of `server/discover`."""
    raise NotImplementedError
