"""One HTTP connection of the command line. Import it only to connect: its library takes 1.5 MB."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from agenthub.adapters.inbound.cli.output import Failure, wait_words

WAIT_S = 330
"""Longer than the hub's own limit for a call, so that the hub's answer is the one seen."""

ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Answer:
    """`is_waiting`: it is no outcome yet, but says where to collect one."""

    text: str
    is_waiting: bool = False


NAME = "agenthub command line"
"""How people see it who are asked because of a call."""


class Connection:
    """Every refusal becomes a Failure with the hub's own words."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._client = httpx2.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}", "User-Agent": NAME},
            timeout=httpx2.Timeout(WAIT_S, connect=5),
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def wait_at_most(self, seconds: float) -> None:
        """Give up on answers that take longer from now on."""
        self._client.timeout = httpx2.Timeout(seconds)

    def send(self, method: str, path: str, *, body: Any, query: dict[str, Any]) -> Answer:
        """Send a request and give its answer."""
        params = {k: v for k, v in query.items() if v is not None}
        with self._reaching():
            answer = self._client.request(method, path, json=body, params=params)
        if answer.status_code >= 400:
            raise refusal_of(answer)
        return Answer(answer.text, answer.status_code == ACCEPTED)

    def lines(self, method: str, path: str, **given: Any) -> Iterator[str]:
        """Send a request and give the lines of its answer as they come."""
        with self._reaching(), self._client.stream(method, path, **given) as answer:
            if answer.status_code >= 400:
                answer.read()
                raise refusal_of(answer)
            yield from answer.iter_lines()

    @contextmanager
    def _reaching(self) -> Generator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            raise Failure(f"The hub at {self._address} did not answer in time.") from error
        except httpx2.TransportError as error:
            raise Failure(
                f"No hub answers at {self._address}. "
                "Start it with 'agenthub serve', or name another with --url."
            ) from error


def refusal_of(answer: httpx2.Response) -> Failure:
    """Put a refusal of the hub in words: each fault once, and when to come back."""
    try:
        problem: dict[str, Any] = answer.json()
    except ValueError:
        return Failure(f"The hub answered HTTP {answer.status_code}.")
    lines = [str(problem.get("detail") or problem.get("title") or answer.status_code)]
    faults: list[dict[str, Any]] = problem.get("errors") or []
    named = [f"{'.'.join(map(str, fault['loc']))}: {fault['message']}" for fault in faults]
    # Most details tell the faults themselves.
    lines += [f"  {fault}" for fault in named if fault not in lines[0]]
    wait = answer.headers.get("retry-after", "")
    if wait.isdecimal():
        lines.append(f"Try again in {wait_words(int(wait))}.")
    if answer.status_code == 401:
        lines.append("Give the right token with --token or AGENTHUB_OWNER_TOKEN.")
    return Failure("\n".join(lines), problem=problem)
