"""Finds again, after a restart, what a stored call was about."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import NotFoundError, UnauthenticatedError, UnavailableError
from agenthub.domain.ids import WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.services.calls import CallService, Errand
from agenthub.domain.services.catalog.views import CatalogService, View
from agenthub.domain.services.identity import IdentityService

LOOK_EVERY_S = 0.5
"""Between two looks at a server that is starting."""


class Revival:
    """Says who made a call and where it leads."""

    def __init__(
        self,
        *,
        calls: CallService,
        catalog: CatalogService,
        clock: Clock,
        identity: IdentityService,
        pause: Callable[[float], Awaitable[None]],
        patience_s: Callable[[], float],
    ) -> None:
        self._calls = calls
        self._catalog = catalog
        self._clock = clock
        self._identity = identity
        self._pause = pause
        self._patience_s = patience_s

    async def principal(self, workspace: WorkspaceId, subject: str) -> Principal:
        """Raises UnauthenticatedError where the key has expired or was revoked."""
        owner = replace(OWNER, workspace=workspace)
        if subject == owner.subject:
            return owner
        try:
            key = await self._identity.find(owner, subject)
        except NotFoundError:
            key = None
        if key is None or key.is_expired(self._clock.now()):
            text = "The key of this call has expired or was revoked."
            raise UnauthenticatedError(text)
        return key.principal()

    async def target(self, view: View, errand: Errand, era: Era) -> Target:
        """Wait for the server a while. Raises as `CallService.target_of`."""
        ends_at = self._clock.monotonic() + self._patience_s()
        while True:
            is_late = self._clock.monotonic() >= ends_at
            try:
                target = self._calls.target_of(view, errand, era)
                if is_late or self._catalog.eras_of(target.endpoint_id):
                    return target
            except UnavailableError:
                if is_late:
                    raise
            await self._pause(LOOK_EVERY_S)
