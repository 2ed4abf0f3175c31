"""A collector of traces on loopback: OTLP/HTTP with binary protobuf, as the real ones speak it.

with Collector() as collector:
    hub = HubProcess(dir, env=collector.settings())
    spans = await collector.trace(trace_id, spans=2)
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.waiting import PATIENCE_S, eventually

LONGEST_HOLD_S = 60.0


class Kind(IntEnum):
    """As the protocol numbers them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Status(IntEnum):
    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """Ids are hexadecimal; `parent_id` is empty for a root."""

    name: str
    kind: Kind
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, Any]
    status: Status
    status_message: str
    events: int
    service: str


class Collector:
    """Keeps what it is sent. `status` is what it answers; `hold()` lets senders wait."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[SeenSpan] = []
        self.asked = threading.Event()
        self._free = threading.Event()
        self._free.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._free.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def settings(self) -> dict[str, str]:
        """Environment of a hub that sends its traces here."""
        return {"AGENTHUB_TELEMETRY__OTLP_ENDPOINT": self.url}

    def hold(self) -> None:
        """Take requests, and do not answer them."""
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def trace(
        self, trace_id: str, *, spans: int, within_s: float = 4 * PATIENCE_S
    ) -> list[SeenSpan]:
        """Wait for that many spans of a trace; give all of it, in the order of ending."""
        await eventually(
            lambda: len(self._of(trace_id)) >= spans,
            within_s=within_s,
            what=f"{spans} spans of {trace_id}",
        )
        return self._of(trace_id)

    def _of(self, trace_id: str) -> list[SeenSpan]:
        return [span for span in list(self.spans) if span.trace_id == trace_id]

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.headers.append(headers)
        self.asked.set()
        assert self._free.wait(LONGEST_HOLD_S), "held too long"
        if path != "/v1/traces" or headers.get("content-type") != "application/x-protobuf":
            return 404
        if self.status < 300:
            self.bodies.append(body)
            self.spans += _read(body)
        return self.status

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = collector._take(self.path, headers, body)
                try:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    return  # the hub did not wait

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        return Handler


def _read(body: bytes) -> list[SeenSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        SeenSpan(
            name=span.name,
            kind=Kind(span.kind),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            attributes=_facts(span.attributes),
            status=Status(span.status.code),
            status_message=span.status.message,
            events=len(span.events),
            service=str(_facts(resource.resource.attributes).get("service.name")),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _facts(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
