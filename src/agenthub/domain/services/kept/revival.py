"""Finds again, after a restart, what a stored call was about."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import NotFoundError, UnauthenticatedError, UnavailableError
from agenthub.domain.ids import WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.services.calls import CallService, Errand
from agenthub.domain.services.catalog.views import CatalogService, View
from agenthub.domain.services.hitl.threads import Keeper, require_same
from agenthub.domain.services.identity import IdentityService
from agenthub.domain.services.kept.rows import errand_of

LOOK_EVERY_S = 0.5
"""Between two looks at a server that is starting."""

Later = Callable[[Coroutine[Any, Any, None]], None]


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

    async def found(
        self, row: HeldCall, asked: Sequence[HitlRequest]
    ) -> tuple[View, Errand, Target]:
        """Find all that a call needs to go on, where it led when people were `asked`.

        Raises as `principal` and `target`, and NotFoundError (`target_changed`).
        """
        principal = await self.principal(row.workspace, row.subject)
        view, errand = View(principal, row.view_group, row.view_server), errand_of(row)
        target = await self.target(view, errand, Era(row.era))
        require_same(target, *asked)
        return view, errand, target

    def keeper(
        self, view: View, errand: Errand, era: Era, draft: Callable[[], HeldCall], later: Later
    ) -> Keeper:
        """Make what a call's thread needs of whoever keeps the call."""

        async def check() -> None:
            await self.principal(view.principal.workspace, view.principal.subject)

        return Keeper(draft, later, check, lambda: self._calls.target_of(view, errand, era))

    def keeper_of(self, row: HeldCall, later: Later) -> Keeper:
        """Make it for a call that is taken up again."""
        caller = replace(OWNER, workspace=row.workspace, subject=row.subject)
        view = View(caller, row.view_group, row.view_server)
        return self.keeper(view, errand_of(row), Era(row.era), lambda: row, later)

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
