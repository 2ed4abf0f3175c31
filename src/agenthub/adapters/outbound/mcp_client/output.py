"""What a stdio server says beside the protocol: the last of it is kept, for a person to read."""

from collections import deque

MAX_LINES = 200
MAX_LINE_BYTES = 2048


class OutputTail:
    """The last lines of a server, over restarts. Bounded, whatever it writes.

    Lines are made readable when somebody reads: a server may write far more than is ever read.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=MAX_LINES)
        self._part = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they come; a line that does not end is cut."""
        *lines, part = (self._part + data).split(b"\n")
        self._part = part[:MAX_LINE_BYTES]
        for line in lines[-MAX_LINES:]:
            self._lines.append(line[:MAX_LINE_BYTES])

    def flush(self) -> None:
        """End the line that has begun."""
        if self._part:
            self._lines.append(self._part)
            self._part = b""

    def lines(self) -> list[str]:
        return [_shown(line) for line in (*self._lines, *([self._part] if self._part else []))]


def _shown(line: bytes) -> str:
    """Make a line harmless on a terminal and in a log."""
    text = line.rstrip(b"\r").decode(errors="replace")
    return "".join(char if char.isprintable() or char == "\t" else "�" for char in text)
