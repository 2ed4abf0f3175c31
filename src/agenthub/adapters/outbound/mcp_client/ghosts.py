"""Requests that the hub gave up: their server may still work on them, and still ask."""

import asyncio

LINGER_S = 60.0
"""How long a request that was given up is reckoned with, when its reply never comes."""

MAX_GHOSTS = 4096
"""Of more, the oldest are forgotten."""


class Ghosts:
    """Whose given-up requests a question may still belong to, on one connection."""

    def __init__(self) -> None:
        self._ghosts: dict[bytes, tuple[str, float]] = {}

    def add(self, key: bytes, client: str) -> None:
        """Remember a request that was given up; `key` is its id as JSON."""
        if len(self._ghosts) >= MAX_GHOSTS:
            del self._ghosts[next(iter(self._ghosts))]
        self._ghosts[key] = (client, asyncio.get_running_loop().time() + LINGER_S)

    def lay(self, key: bytes) -> bool:
        """Its reply has come: forget it. False when there is no such request."""
        return self._ghosts.pop(key, None) is not None

    def clients(self) -> set[str]:
        """Give the clients of those that may still live."""
        if not self._ghosts:
            return set()
        now = asyncio.get_running_loop().time()
        for key in [key for key, (_, until) in self._ghosts.items() if until <= now]:
            del self._ghosts[key]
        return {client for client, _ in self._ghosts.values()}
