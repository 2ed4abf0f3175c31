"""The journal in files of the data folder, one line a record, each with its checksum."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self
from zlib import crc32

from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ports.outbound.journal import Journal

_NAME = re.compile(r"usage-(\d{6,})\.journal")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
_MARK_LENGTH = 9
_LONGEST_LINE = 4 * 1024 * 1024
"""What damage has run together is read in pieces of so many bytes."""

_logger = logging.getLogger(__name__)


class FileJournal(Journal):
    """A resident. An append is one `write`; with `sync` it also waits for the disk.

    A line is the record's CRC-32 in eight hex digits, a blank and the record. One process at a
    time uses a folder.
    """

    def __init__(self, *, folder: Path, sync: bool = False) -> None:
        self._folder = folder
        self._sync = sync
        self._file = -1
        self._size = 0
        self._segment = 0

    async def __aenter__(self) -> Self:
        """Begin a segment behind those that are there. Raises UnavailableError."""
        try:
            self._segment = max(self._segments(), default=0)
        except OSError as error:
            raise _unavailable(error) from error
        self._begin()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        os.close(self._file)
        self._file = -1

    def append(self, record: bytes) -> None:
        line = b"%08x %b\n" % (crc32(record), record)
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError("the disk is full")
            if self._sync:
                os.fdatasync(self._file)
        except OSError as error:
            self._undo()
            raise _unavailable(error) from error
        self._size += written

    def rotate(self) -> int:
        former, ended = self._file, self._segment
        self._begin()
        os.close(former)
        return ended

    def drop(self, segment: int) -> None:
        for number in self._segments():
            if number <= segment and number != self._segment:
                _remove(self._path(number))

    def replay(self) -> Iterator[bytes]:
        for number in self._segments():
            if number < self._segment:
                yield from _records(self._path(number))

    def _begin(self) -> None:
        number = self._segment + 1
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._path(number), _NEW_FILE, 0o600)
        except OSError as error:
            raise _unavailable(error) from error
        try:
            if self._sync:
                _sync_folder(self._folder)
        except OSError as error:
            os.close(file)
            _remove(self._path(number))
            raise _unavailable(error) from error
        self._file, self._segment, self._size = file, number, 0

    def _undo(self) -> None:
        """Cut off half a record, so that the next one begins a line."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError as error:
            _logger.warning("half a record stays in the journal: %s", error.strerror)

    def _segments(self) -> list[int]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)

    def _path(self, number: int) -> Path:
        return self._folder / f"usage-{number:06}.journal"


def _records(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from _sound(file, path.name)
    except OSError as error:
        _logger.error("the journal %s cannot be read: %s", path.name, error.strerror)
        _set_aside(path)


def _sound(file: BinaryIO, name: str) -> Iterator[bytes]:
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
        record = line[_MARK_LENGTH:-1]
        if line.endswith(b"\n") and line[:_MARK_LENGTH] == b"%08x " % crc32(record):
            yield record
        elif line.endswith(b"\n") or len(line) == _LONGEST_LINE:
            _logger.error("line %d of the journal %s is damaged: left out", number, name)
        # Else it is the last one, which its writer did not finish.


def _set_aside(path: Path) -> None:
    """Keep for a person what would be dropped with the segments that could be read."""
    try:
        path.rename(path.with_name(f"{path.name}.unreadable"))
    except OSError as error:
        _logger.error("the journal %s cannot be set aside: %s", path.name, error.strerror)


def _remove(path: Path) -> None:
    """What stays is read again by the next process, and changes nothing."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _logger.error("the journal %s cannot be removed: %s", path.name, error.strerror)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _unavailable(error: OSError) -> UnavailableError:
    return UnavailableError(
        f"The journal cannot be written ({error.strerror or error}); look after the disk.",
        code="journal_unavailable",
    )
