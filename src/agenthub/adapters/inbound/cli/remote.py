"""The running hub as the command line sees it: its REST interface."""

import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from agenthub.adapters.inbound.cli.output import Failure

WAIT_S = 330
"""Longer than the hub's own limit for a call, so that the hub's answer is the one seen."""


class Remote:
    """A connection to the hub. Every refusal becomes a Failure with the hub's own words."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self._client = httpx2.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(WAIT_S, connect=5),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._send("GET", path, query=query)

    def text(self, path: str) -> str:
        """Read what is no JSON."""
        return self._answer("GET", path).text

    def wait_at_most(self, seconds: float) -> None:
        """Give up on answers that take longer from now on."""
        self._client.timeout = httpx2.Timeout(seconds)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        return self._send("POST", path, body=body, query=query)

    def patch(self, path: str, body: Any) -> Any:
        return self._send("PATCH", path, body=body)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

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
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        event_id: int | None = None
        for name, value in self._lines("GET", "/api/events", headers=headers):
            if name == "id":
                event_id = int(value)
            elif name == "data":
                yield {"id": event_id, **json.loads(value)}

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
        try:
            with self._client.stream(method, path, **given) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refusal(answer)
                for line in answer.iter_lines():
                    name, _, value = line.partition(":")
                    yield name, value
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _send(
        self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None
    ) -> Any:
        answer = self._answer(method, path, body=body, query=query)
        return answer.json() if answer.content else None

    def _answer(
        self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None
    ) -> httpx2.Response:
        params = {k: v for k, v in (query or {}).items() if v is not None}
        try:
            answer = self._client.request(method, path, json=body, params=params)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if answer.status_code >= 400:
            raise _refusal(answer)
        return answer

    def _unreachable(self, error: Exception) -> Failure:
        if isinstance(error, httpx2.TimeoutException):
            return Failure(f"The hub at {self.address} did not answer in time.")
        return Failure(
            f"No hub answers at {self.address}. "
            "Start it with 'agenthub serve', or name another with --url."
        )


def segment(text: str) -> str:
    """Make one path segment of any text."""
    return quote(text, safe="")


def _refusal(answer: httpx2.Response) -> Failure:
    try:
        problem: dict[str, Any] = answer.json()
    except ValueError:
        return Failure(f"The hub answered HTTP {answer.status_code}.")
    lines = [str(problem.get("detail") or problem.get("title") or answer.status_code)]
    faults: list[dict[str, Any]] = problem.get("errors") or []
    for fault in faults:
        lines.append(f"  {'.'.join(map(str, fault['loc']))}: {fault['message']}")
    if answer.status_code == 401:
        lines.append("Give the right token with --token or AGENTHUB_OWNER_TOKEN.")
    return Failure("\n".join(lines), problem=problem)
