"""Whether those who hold open streams and running requests may still hold them."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import NotFoundError
from agenthub.domain.ports.outbound.clock import Clock

logger = logging.getLogger(__name__)


class Credentials:
    """Asks after keys that were good when a stream or session was opened."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock

    async def over(self, principals: Iterable[Principal]) -> frozenset[Principal]:
        """Give those whose key has expired or was revoked. A failing look-up ends nobody."""
        return frozenset([one for one in principals if await self._is_over(one)])

    async def _is_over(self, principal: Principal) -> bool:
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            return True
        if principal.subject == OWNER.subject:
            return False
        try:
            asker = replace(OWNER, workspace=principal.workspace)
            await self._hub.identity.find(asker, principal.subject)
        except NotFoundError:
            return True
        except Exception:
            logger.exception("could not look up a key that holds a stream")
        return False
