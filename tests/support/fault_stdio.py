"""Stdio servers that fail on command, and the search for what such a server leaves behind."""

import secrets
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from tests.support.fault_mcp import Eras

SCRIPT = Path(__file__).with_name("faulty_stdio.py")


class StdioFault(StrEnum):
    """What the server does, from its start or from the next call on."""

    NONE = "none"
    BANNER = "banner"
    CRASH = "crash"
    CRASH_LEAVING_CHILD = "crash-leaving-child"
    HANG = "hang"
    FLOOD = "flood"
    BAD_UTF8 = "bad-utf8"
    STUBBORN = "stubborn"
    """Ignores SIGTERM and the end of its input; from the start."""
    GRANDCHILD = "grandchild"
    """Has a child that ignores SIGTERM and holds its stdout; from the start."""
    STUBBORN_FAMILY = "stubborn-family"
    """Both of the above."""
    EXIT_AT_START = "exit-at-start"


class FaultyStdio:
    """The command of such a server. Its processes are found by a marker in their arguments."""

    def __init__(self, folder: Path, eras: Eras = Eras.BOTH) -> None:
        self.marker = f"chaos-{secrets.token_hex(8)}"
        self._mode_file = folder / self.marker
        self._eras = eras
        self.heal()

    @property
    def transport(self) -> dict[str, Any]:
        """The transport of a registration."""
        arguments = ["-I", "-S", str(SCRIPT), self.marker, str(self._mode_file), self._eras.value]
        return {"type": "stdio", "command": sys.executable, "args": arguments}

    def plant(self, fault: StdioFault) -> None:
        """Have this fault from the next start or call on."""
        self._mode_file.write_text(fault.value)

    def heal(self) -> None:
        self.plant(StdioFault.NONE)

    def processes(self) -> list[psutil.Process]:
        """All living processes of this server, its children included."""
        return [one for one in psutil.process_iter() if self._is_mine(one)]

    def end_all(self) -> None:
        """Kill what is left, so that a failed test leaves nothing behind."""
        for process in self.processes():
            process.kill()

    def _is_mine(self, process: psutil.Process) -> bool:
        try:
            return self.marker in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False
