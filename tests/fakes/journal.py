"""A journal in memory: `crashed` gives the one that the next process would find."""

from collections.abc import Iterator
from typing import Self

from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ports.outbound.journal import Journal


class FakeJournal(Journal):
    """`is_broken`: nothing can be written, as on a full disk."""

    def __init__(self, segments: dict[int, list[bytes]] | None = None) -> None:
        self.segments = {number: list(records) for number, records in (segments or {}).items()}
        self.is_broken = False
        self._present = 0

    async def __aenter__(self) -> Self:
        self._present = max(self.segments, default=0) + 1
        self.segments[self._present] = []
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing is held open."""

    def crashed(self) -> "FakeJournal":
        return FakeJournal(self.segments)

    def append(self, record: bytes) -> None:
        self._check()
        self.segments[self._present].append(record)

    def rotate(self) -> int:
        self._check()
        ended = self._present
        self._present += 1
        self.segments[self._present] = []
        return ended

    def drop(self, segment: int) -> None:
        for number in [n for n in self.segments if n <= segment and n != self._present]:
            del self.segments[number]

    def replay(self) -> Iterator[bytes]:
        for number in sorted(n for n in self.segments if n < self._present):
            yield from self.segments.get(number, [])

    def _check(self) -> None:
        if self.is_broken:
            raise UnavailableError("broken", code="journal_unavailable")
