"""Server-sent events, read as they come, with a bound on what one event may hold.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
"""

from dataclasses import dataclass

from agenthub.domain.ports.outbound.http import BodyTooLargeError

MAX_EVENT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SseEvent:
    name: str
    data: bytes


class SseParser:
    """Cuts a stream into events. One parser reads one stream.

    `last_event_id` and `retry_s` are what a reconnect has to honour; None until the server said
    so. Comments, unknown fields and events without data are passed over.
    """

    def __init__(
        self,
        *,
        server: str = "",
        max_event_bytes: int = MAX_EVENT_BYTES,
        last_event_id: str | None = None,
    ) -> None:
        self._server = server
        self.last_event_id = last_event_id
        self.retry_s: float | None = None
        self._max_event_bytes = max_event_bytes
        self._begun = False
        self._after_cr = False
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._name = ""
        self._id: str | None = None
        self._size_bytes = 0

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes, give the events they complete. Raises BodyTooLargeError."""
        if not self._begun and chunk:
            self._begun = True
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._size_bytes += len(chunk)
        *lines, rest = chunk.split(b"\n")
        events: list[SseEvent] = []
        for line in lines:
            if self._line:
                self._line.append(line)
                line = b"".join(self._line)
                self._line.clear()
            event = self._take(line)
            if event is not None:
                events.append(event)
        if rest:
            self._line.append(rest)
        if self._size_bytes > self._max_event_bytes:
            self._require_room()
        return events

    def _take(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data":
                self._data.append(value)
            case b"event":
                self._name = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode(errors="replace")
            case b"retry" if value.isdigit() and len(value) < 10:
                self.retry_s = int(value) / 1000
            case _:
                pass
        return None

    def _dispatch(self) -> SseEvent | None:
        if self._id is not None:
            self.last_event_id = self._id or None
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        name, self._name = self._name or "message", ""
        self._data.clear()
        self._size_bytes = 0
        return SseEvent(name, data) if data else None

    def _require_room(self) -> None:
        """Count again what is really held: the events of this chunk may have gone already."""
        held = sum(map(len, self._line)) + sum(map(len, self._data)) + 8 * len(self._data)
        if held > self._max_event_bytes:
            raise BodyTooLargeError(
                f"The server {self._server!r} sent an event of more than "
                f"{self._max_event_bytes} bytes."
            )
        self._size_bytes = held
