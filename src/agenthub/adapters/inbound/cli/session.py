"""What the commands of one invocation share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import typer

from agenthub.adapters.inbound.cli.inbox.terminal import StandardTerminal, Terminal
from agenthub.adapters.inbound.cli.remote import Remote


@dataclass(frozen=True, slots=True)
class Session:
    """`connect` opens a connection to the hub; raises Failure when it has no token.

    `setting_faults` says what is wrong with `agenthub.toml` here.
    """

    connect: Callable[[], Remote]
    data_dir: Path | None
    setting_faults: Callable[[], list[str]]
    now: Callable[[], datetime]
    terminal: Terminal = field(default_factory=StandardTerminal)


def remote_of(context: typer.Context) -> Remote:
    """Open the hub's connection for a command."""
    session: Session = context.obj
    return session.connect()
