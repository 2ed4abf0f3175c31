"""Looking at a hub once, or again and again."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from agenthub.adapters.inbound.cli.output import Failure, say_json
from agenthub.adapters.inbound.cli.remote import Remote
from agenthub.adapters.inbound.cli.top.frame import Frame, Frames
from agenthub.adapters.inbound.cli.top.reading import read_hub
from agenthub.adapters.inbound.cli.top.tail import EventTail
from agenthub.adapters.inbound.cli.top.view import render

SETTLE_S = 2.0
FOR_GOOD = frozenset({401, 403, 404})
"""A hub that answers so will not answer otherwise a second later."""

Show = Callable[[RenderableType], None]


class Watched:
    """A hub that is looked at again and again."""

    def __init__(
        self, hub: Remote, tail: EventTail, now: Callable[[], datetime], interval_s: float
    ) -> None:
        self.hub = hub
        self.tail = tail
        self.interval_s = interval_s
        self._now = now
        self._frames = Frames()

    def look(self) -> Frame:
        """Raises Failure."""
        return self._frames.take(read_hub(self.hub, self._now()))


def show_once(watched: Watched, *, as_json: bool) -> None:
    """Look twice, so that there are rates. Raises Failure."""
    watched.look()
    time.sleep(watched.interval_s)
    frame = watched.look()
    watched.tail.settle(SETTLE_S)
    events = watched.tail.events
    if as_json:
        say_json(frame.as_document(watched.hub.address, events))
        return
    console = Console(highlight=False)
    console.print(render(frame, watched.hub.address, events, size=(console.width, 0)))


def show_live(watched: Watched) -> None:
    """Draw frame after frame until interrupted: over each other, or below where nothing can move.

    Raises Failure where the hub refuses.
    """
    console = Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        _watch(watched, console, console.print)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def show(drawn: RenderableType) -> None:
            live.update(drawn, refresh=True)

        _watch(watched, console, show)


def _watch(watched: Watched, console: Console, show: Show) -> None:
    """Look again and again. Raises Failure where the hub refuses, not where it is away."""
    frame: Frame | None = None
    while True:
        trouble = None
        try:
            frame = watched.look()
        except Failure as failure:
            trouble = _trouble(failure, frame)
        lines = console.height if console.is_terminal else 0
        size = (console.width, lines)
        address, events = watched.hub.address, watched.tail.events
        show(render(frame, address, events, size=size, trouble=trouble))
        time.sleep(watched.interval_s)


def _trouble(failure: Failure, last: Frame | None) -> str:
    """Say why there is nothing new. Raises the failure again if waiting will not mend it."""
    problem: dict[str, Any] = failure.problem or {}
    if problem.get("status") in FOR_GOOD:
        raise failure
    since = "" if last is None else f" This was seen at {last.reading.at.astimezone():%H:%M:%S}."
    return f"{failure} Waiting for it.{since}"
