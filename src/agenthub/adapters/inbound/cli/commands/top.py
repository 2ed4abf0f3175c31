"""agenthub top: a live view of servers, calls, breakers and spend."""

from typing import Annotated

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import WrongUse
from agenthub.adapters.inbound.cli.session import Session

SHORTEST_S, LONGEST_S = 0.2, 60.0
ANSWER_S = 10.0


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
    # What draws is large, and the other commands shall start fast.
    from agenthub.adapters.inbound.cli.top.tail import EventTail  # noqa: PLC0415
    from agenthub.adapters.inbound.cli.top.watching import (  # noqa: PLC0415
        Watched,
        show_live,
        show_once,
    )

    session: Session = context.obj
    try:
        with session.connect() as hub:
            hub.wait_at_most(ANSWER_S)
            tail = EventTail(session.connect)
            tail.start()
            watched = Watched(hub, tail, session.now, interval)
            if once:
                show_once(watched, as_json=as_json)
            else:
                show_live(watched)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
