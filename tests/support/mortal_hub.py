"""A hub that kills itself at a given write: `python -m tests.support.mortal_hub serve ...`.

Before, in the middle of and after every write to the journal, before and after every commit of
the database, a file is looked at: the one named by DEATH_FILE. While it is there, each such point
counts its number down; at zero the process ends by SIGKILL, with nothing flushed or closed.
"""

import os
import signal
from pathlib import Path

import aiosqlite

from agenthub.__main__ import main
from agenthub.adapters.outbound.journal import file as journal_file
from agenthub.adapters.outbound.journal.file import FileJournal

DEATH_FILE = "CHAOS_DEATH_FILE"


class Countdown:
    """Ends the process at the point that the file says."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._left: int | None = None

    def point(self) -> None:
        if not self._file.exists():
            self._left = None
            return
        if self._left is None:
            self._left = int(self._file.read_text())
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def make_mortal(countdown: Countdown) -> None:
    """Put the points around all that this process keeps for good."""
    _around_journal(countdown)
    die_around_commits(countdown)


def _around_journal(countdown: Countdown) -> None:
    append, rotate, drop = FileJournal.append, FileJournal.rotate, FileJournal.drop
    whole_write = os.write

    def broken_write(file: int, data: bytes) -> int:
        half = len(data) // 2
        countdown.point()
        written = whole_write(file, data[:half])
        countdown.point()
        return written + whole_write(file, data[half:])

    class Halving:
        """The `os` of the journal alone, whose writes come in two halves."""

        def __getattr__(self, name: str) -> object:
            return broken_write if name == "write" else getattr(os, name)

    journal_file.os = Halving()  # type: ignore[assignment]  # the point of this program

    def dying_append(self: FileJournal, record: bytes) -> None:
        append(self, record)
        countdown.point()

    def dying_rotate(self: FileJournal) -> int:
        countdown.point()
        ended = rotate(self)
        countdown.point()
        return ended

    def dying_drop(self: FileJournal, segment: int) -> None:
        countdown.point()
        drop(self, segment)
        countdown.point()

    FileJournal.append = dying_append  # type: ignore[method-assign]  # likewise
    FileJournal.rotate = dying_rotate  # type: ignore[method-assign]  # likewise
    FileJournal.drop = dying_drop  # type: ignore[method-assign]  # likewise


def die_around_commits(countdown: Countdown) -> None:
    """Put points before and after every commit alone."""
    commit = aiosqlite.Connection.commit

    async def dying_commit(self: aiosqlite.Connection) -> None:
        countdown.point()
        await commit(self)
        countdown.point()

    aiosqlite.Connection.commit = dying_commit  # type: ignore[method-assign]  # likewise


if __name__ == "__main__":
    make_mortal(Countdown(Path(os.environ[DEATH_FILE])))
    main()
