"""The GET stream of a legacy session over HTTP: what belongs to no request comes on it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agenthub.adapters.outbound.mcp_client.http_answers import (
    EVENT_STREAM,
    MessageReader,
    media_type,
)
from agenthub.adapters.outbound.mcp_client.legacy_session import (
    DEFAULT_RETRY_S,
    MAX_RETRY_S,
    Session,
    SessionDesk,
    SessionLostError,
    retry_s,
)
from agenthub.adapters.outbound.mcp_client.messages import Incoming
from agenthub.domain.exceptions import HubError
from agenthub.domain.ports.outbound.http import HttpClient

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Strays:
    """Reads the stream and hands its messages to `take`, taking it up again whenever it breaks.

    `on_gap` is called when messages may have been missed for good.
    """

    desk: SessionDesk
    http: HttpClient
    take: Callable[[Incoming], Awaitable[None]]
    on_gap: Callable[[], None]

    async def follow(self, session: Session) -> None:
        """Return when the server offers no such stream. Raises SessionLostError.

        A stream that cannot be resumed is not opened anew at any pace the server likes: each time
        may cost a reading of all lists.
        """
        former: MessageReader | None = None
        pause_s = DEFAULT_RETRY_S
        while True:
            begun = asyncio.get_running_loop().time()
            wait_s = None
            try:
                reader = await self._once(session, former)
            except SessionLostError:
                raise
            except Exception as error:  # noqa: BLE001 (a stream of strays must not end the session)
                self._broke(error)
            else:
                if reader is None:
                    return
                former = reader
                wait_s = retry_s(reader, pause_s) if _is_resumable(session, reader) else None
            if asyncio.get_running_loop().time() - begun > MAX_RETRY_S:
                pause_s = DEFAULT_RETRY_S
            await asyncio.sleep(pause_s if wait_s is None else wait_s)
            pause_s = min(MAX_RETRY_S, 2 * pause_s)

    async def _once(self, session: Session, former: MessageReader | None) -> MessageReader | None:
        """Read one stream to its end; None when the server offers none.

        `former` is the one before, if there was any: without one, HTTP 404 says no more than that
        the server has no such stream.
        """
        last = None if former is None else former.parser.last_event_id
        async with self.http.request(
            "GET", self.desk.url, headers=session.stream_headers(last), timeout_s=None
        ) as response:
            is_lost = response.status == 404 and former is not None
            if is_lost or response.status >= 500 or response.status == 429:
                raise await self.desk.refusal(session, response, b"")
            if response.status >= 300 or media_type(response.headers) != EVENT_STREAM:
                return None
            if former is not None and not _is_resumable(session, former):
                self.on_gap()
            reader = MessageReader(response, self.desk.server, b"", last_event_id=last)
            try:
                while (message := await reader.next()) is not None:
                    await self.take(message)
            except HubError as error:
                self._broke(error)  # it is taken up again where it broke
            return reader

    def _broke(self, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        _log.debug("stream broke", extra={"server": self.desk.server, "why": why})


def _is_resumable(session: Session, reader: MessageReader) -> bool:
    """Without a session nothing would tell that the server knows the event no more."""
    return session.id is not None and reader.parser.last_event_id is not None
