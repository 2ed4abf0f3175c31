"""A write-ahead journal on this machine: what is appended survives the end of the process."""

from abc import ABC, abstractmethod


class Journal(ABC):
    """Records in their order, in segments that are dropped when their records are stored.

    An append returns once the operating system has it: it outlives `kill -9`, and with
    `sync` a power cut as well.
    """

    @abstractmethod
    def append(self, record: bytes) -> None:
        """Add one record (no line break in it). Microseconds. Raises UnavailableError."""

    @abstractmethod
    def rotate(self) -> int:
        """Begin a new segment; give the number of the one just ended."""

    @abstractmethod
    def drop(self, segment: int) -> None:
        """Forget a segment and all before it: their records are stored."""

    @abstractmethod
    def replay(self) -> list[bytes]:
        """Give the records that earlier processes left, oldest first; a torn last one is left out.

        Call it once, before the first append. They stay until their segment is dropped.
        """
