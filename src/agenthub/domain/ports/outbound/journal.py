"""A write-ahead journal on this machine: what is appended survives the end of the process."""

from abc import ABC, abstractmethod
from collections.abc import Iterator


class Journal(ABC):
    """Records in their order, in segments that are dropped when their records are stored.

    An append returns once the operating system has it: it outlives `kill -9`, and with
    `sync` a power cut as well.
    """

    @abstractmethod
    def append(self, record: bytes) -> None:
        """Add one record (no line break in it). Microseconds.

        Raises UnavailableError (code `journal_unavailable`); the record is then not kept.
        """

    @abstractmethod
    def rotate(self) -> int:
        """Begin a new segment; give the number of the one just ended.

        Raises UnavailableError (code `journal_unavailable`); the present one goes on then.
        """

    @abstractmethod
    def drop(self, segment: int) -> None:
        """Forget a segment and all before it: their records are stored."""

    @abstractmethod
    def replay(self) -> Iterator[bytes]:
        """Give the records of all ended segments, those of earlier processes first.

        A segment is read when its turn comes. Damaged records are left out. All stay until
        their segment is dropped.
        """
