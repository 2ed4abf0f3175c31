"""agenthub top: a live view of servers, calls, breakers and spend."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import Failure, WrongUse, say_json
from agenthub.adapters.inbound.cli.remote import Remote
from agenthub.adapters.inbound.cli.session import Session
from agenthub.adapters.inbound.cli.top.frame import Frame, Frames
from agenthub.adapters.inbound.cli.top.reading import read_hub
from agenthub.adapters.inbound.cli.top.tail import EventTail
from agenthub.adapters.inbound.cli.top.view import render

SHORTEST_S, LONGEST_S = 0.2, 60.0
ANSWER_S = 10.0
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


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(top)


def top(
    context: typer.Context,
    interval: Annotated[
        float, typer.Option(min=SHORTEST_S, max=LONGEST_S, help="Seconds between two looks.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    as_json: Json = False,
) -> None:
    """Watch servers, calls, breakers and spend as they change, until interrupted."""
    if as_json and not once:
        raise WrongUse("--json goes with --once.")
    session: Session = context.obj
    tail = EventTail(session.connect)
    try:
        with session.connect() as hub:
            hub.wait_at_most(ANSWER_S)
            tail.start()
            watched = Watched(hub, tail, session.now, interval)
            if once:
                _once(watched, as_json=as_json)
            else:
                _live(watched)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _once(watched: Watched, *, as_json: bool) -> None:
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


def _live(watched: Watched) -> None:
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
