"""A call that waits for a person: said so, and waited for until it has an outcome."""

from datetime import datetime
from typing import Any

import typer

from agenthub.adapters.inbound.cli.output import complain, say, say_json
from agenthub.adapters.inbound.cli.remote import Remote, segment

TICKETS = "/api/tickets"
WAIT_S = 50
"""How long each look waits at the hub."""
FIRST_WAIT_S = 1
"""How long the call itself waits for a person, before it is said what it waits for."""


def outcome_of(
    hub: Remote, found: tuple[Any, bool], *, no_wait: bool = False, as_json: bool = False
) -> Any:
    """Give what a call ended with; until a person has answered, wait. Raises Failure.

    `no_wait`: print the ticket, in JSON all that the hub says of it, and end the command well. So
    does an interrupt, but not well.
    """
    result, is_waiting = found
    if not is_waiting:
        return result
    ticket = str(result["ticket"])
    if no_wait:
        say_json(result) if as_json else say(ticket)
        complain(f"It waits for a person; fetch its outcome with 'agenthub collect {ticket}'.")
        raise typer.Exit(0)
    told: tuple[str, ...] = ()
    try:
        while is_waiting:
            told = _tell(result, told)
            result, is_waiting = hub.collect(f"{TICKETS}/{segment(ticket)}", wait_s=WAIT_S)
    except KeyboardInterrupt:
        complain(f"It waits on; fetch its outcome with 'agenthub collect {ticket}'.")
        raise typer.Exit(1) from None
    return result


def _tell(waiting: dict[str, Any], told: tuple[str, ...]) -> tuple[str, ...]:
    """Say once of each question what the call waits for."""
    asked = tuple(waiting["requests"])
    if asked and asked != told:
        kinds = " and ".join(sorted(set(waiting["kinds"])))
        until = datetime.fromisoformat(waiting["expires_at"])
        complain(
            f"{waiting['server']}: waiting for a person ({kinds}) until {until:%H:%M:%S} UTC. "
            f"Answer in another terminal: agenthub inbox answer {asked[0]}"
        )
    return asked or told
