"""The latest events of a hub, heard beside what is polled."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from agenthub.adapters.inbound.cli.inbox.questions import ASKED
from agenthub.adapters.inbound.cli.output import Failure
from agenthub.adapters.inbound.cli.remote import Remote

KEPT = 8
SHOWN = frozenset({"breaker.changed", "budget.alert", "server.status", *ASKED})
"""Questions too: who follows the feed is not called by a notification."""
RETRY_S = 1.0
QUIET_S = 0.2
"""Where nothing came for so long, all that has been is here."""


class EventTail:
    """Follows the feed in a thread of its own until the command ends; comes back by itself.

    The thread is a daemon: it waits in a read that nothing can wake.
    """

    def __init__(self, connect: Callable[[], Remote]) -> None:
        self._connect = connect
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._last = 0
        self._heard_at = time.monotonic()
        self._has_begun = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._follow, name="events", daemon=True).start()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The newest first."""
        return list(reversed(self._events))

    def settle(self, within_s: float) -> None:
        """Wait until what was kept of the past has come, but not for long."""
        ends_at = time.monotonic() + within_s
        self._has_begun.wait(within_s)
        while time.monotonic() < ends_at and time.monotonic() - self._heard_at < QUIET_S:
            time.sleep(QUIET_S / 4)

    def _follow(self) -> None:
        while True:
            try:
                with self._connect() as hub:
                    for event in hub.events(self._last):
                        self._hear(event)
            except Failure:
                self._has_begun.set()
            time.sleep(RETRY_S)

    def _hear(self, event: dict[str, Any]) -> None:
        self._heard_at = time.monotonic()
        self._last = event["id"] or self._last
        if event["type"] in SHOWN:
            self._events.append(event)
        self._has_begun.set()
