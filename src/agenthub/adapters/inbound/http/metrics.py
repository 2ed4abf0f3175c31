"""Numbers for whoever watches. Labels are bounded: routes, methods, statuses, servers, codes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agenthub.adapters.inbound.gate import App, Message, Receive, Scope, Send
from agenthub.domain.services.endpoints import EndpointReport
from agenthub.domain.services.resilience.desk import ServerGate
from agenthub.domain.services.resilience.stats import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Counters:
    """Requests answered, by method, route template and status."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()

    def count(self, scope: Scope, status: int) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", None) or "unknown"
        self.requests[method, route, status] += 1


class Counting:
    """Counts every answer of the application inside."""

    def __init__(self, app: App, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counters.count(scope, message["status"])
            await send(message)

        await self._app(scope, receive, sending)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What there is to tell at one moment. `calls` is keyed by server, method and outcome."""

    counters: Counters
    reports: Sequence[EndpointReport] = ()
    gates: Sequence[ServerGate] = ()
    calls: Sequence[tuple[tuple[str, str, str], Series]] = ()
