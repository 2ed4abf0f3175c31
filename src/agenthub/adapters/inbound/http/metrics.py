"""Numbers for Prometheus. Labels are bounded: route templates, methods, statuses, servers."""

from collections import Counter
from collections.abc import Iterable

from agenthub.adapters.inbound.gate import App, Message, Receive, Scope, Send
from agenthub.domain.entities.endpoints import ConnectionStatus
from agenthub.domain.services.endpoints import EndpointReport

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


def exposition(counters: Counters, reports: Iterable[EndpointReport]) -> str:
    """Write all numbers in the text format of Prometheus."""
    lines = [
        "# HELP agenthub_http_requests_total Requests answered by the REST interface.",
        "# TYPE agenthub_http_requests_total counter",
    ]
    for (method, route, status), number in sorted(counters.requests.items()):
        labels = _labels(method=method, route=route, status=str(status))
        lines.append(f"agenthub_http_requests_total{labels} {number}")
    lines += [
        "# HELP agenthub_server_status Whether a server is in a status (1) or not (0).",
        "# TYPE agenthub_server_status gauge",
    ]
    offered = [
        "# HELP agenthub_server_items What a server offers, by kind.",
        "# TYPE agenthub_server_items gauge",
    ]
    for report in reports:
        server = report.endpoint.name
        for status in ConnectionStatus:
            labels = _labels(server=server, status=status.value)
            lines.append(f"agenthub_server_status{labels} {int(report.state.status is status)}")
        for kind, number in report.counts.items():
            offered.append(f"agenthub_server_items{_labels(server=server, kind=kind)} {number}")
    return "\n".join([*lines, *offered, ""])


def _labels(**values: str) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in values.items()) + "}"
