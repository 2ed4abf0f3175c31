"""The running hub as the command line sees it: its REST interface."""

import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote


class Remote:
    """A connection to the hub. Every refusal becomes a Failure with the hub's own words."""

    def __init__(self, address: str, token: str) -> None:
        # `serve` loads this module as well, and has no use for a client.
        from agenthub.adapters.inbound.cli.connection import Connection  # noqa: PLC0415

        self.address = address
        self._connection = Connection(address, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._send("GET", path, query=query)

    def text(self, path: str) -> str:
        """Read what is no JSON."""
        return self._connection.send("GET", path, body=None, query={}).text

    def wait_at_most(self, seconds: float) -> None:
        """Give up on answers that take longer from now on."""
        self._connection.wait_at_most(seconds)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        return self._send("POST", path, body=body, query=query)

    def patch(self, path: str, body: Any) -> Any:
        return self._send("PATCH", path, body=body)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def try_out(self, path: str, body: Any, **query: Any) -> tuple[Any, bool]:
        """Post what may have to wait for a person: the answer, and whether it is a ticket only."""
        answer = self._connection.send("POST", path, body=body, query=query)
        return json.loads(answer.text), answer.is_waiting

    def collect(self, path: str, **query: Any) -> tuple[Any, bool]:
        """Look what became of a call that waits: as `try_out`."""
        answer = self._connection.send("GET", path, body=None, query=query)
        return json.loads(answer.text), answer.is_waiting

    def items(self, path: str, **query: Any) -> list[Any]:
        """Read all pages of a list."""
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = self.get(path, limit=200, cursor=cursor, **query)
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def events(self, after: int | None) -> Iterator[dict[str, Any]]:
        """Follow the event feed until interrupted."""
        yield from (event for event in self.feed(after) if event is not None)

    def feed(self, after: int | None) -> Iterator[dict[str, Any] | None]:
        """As `events`; None is a sign of life between them, at least every 15 s."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        event_id: int | None = None
        for name, value in self._lines("GET", "/api/events", headers=headers):
            if name == "id":
                event_id = int(value)
            elif name == "data":
                yield {"id": event_id, **json.loads(value)}
            elif value and not name:
                yield None

    def told(self, path: str, body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Post, and read the events of the answer as they come: their name and data."""
        event = ""
        for name, value in self._lines("POST", path, json=body):
            if name == "event":
                event = value.strip()
            elif name == "data":
                yield event, json.loads(value)

    def _lines(self, method: str, path: str, **given: Any) -> Iterator[tuple[str, str]]:
        """Read the fields of an event stream."""
        for line in self._connection.lines(method, path, **given):
            name, _, value = line.partition(":")
            yield name, value

    def _send(
        self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None
    ) -> Any:
        text = self._connection.send(method, path, body=body, query=query or {}).text
        return json.loads(text) if text else None


def segment(text: str) -> str:
    """Make one path segment of any text."""
    return quote(text, safe="")
