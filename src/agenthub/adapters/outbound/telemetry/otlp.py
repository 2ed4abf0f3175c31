"""Traces over OTLP/HTTP, through the hub's one seam for outbound traffic."""

import asyncio
import logging
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from types import TracebackType
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agenthub.domain.exceptions import HubError
from agenthub.domain.ports.outbound.http import HttpClient
from agenthub.domain.ports.outbound.telemetry import Span, SpanKind, Telemetry

TRACES_PATH = "/v1/traces"
ERROR_TYPE = "error.type"
MAX_WAITING = 4_096
"""Spans kept while the collector does not take them; beyond it the oldest are dropped."""

BATCH = 512
EXPORT_EVERY_S = 1.0
EXPORT_TIMEOUT_S = 10.0
LAST_EXPORT_TIMEOUT_S = 2.0
"""A hub that stops does not wait longer for its collector."""

_KINDS = {
    SpanKind.SERVER: trace.SpanKind.SERVER,
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
}
_propagator = TraceContextTextMapPropagator()
_logger = logging.getLogger(__name__)


class _OtelSpan(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: str | int | float | bool) -> None:
        self._span.set_attribute(name, value)
        if name == ERROR_TYPE:
            self._span.set_status(Status(StatusCode.ERROR))

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get("traceparent")


class _Queue(SpanProcessor):
    """Keeps ended spans until they are exported."""

    def __init__(self) -> None:
        self.spans: deque[ReadableSpan] = deque(maxlen=MAX_WAITING)

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self.spans.append(span)

    def take(self) -> list[ReadableSpan]:
        return [self.spans.popleft() for _ in range(min(BATCH, len(self.spans)))]


class OtlpTelemetry(Telemetry):
    """A resident with one exporting task. A collector that fails costs spans, never a call.

    Source: OpenTelemetry Protocol 1.x, OTLP/HTTP, binary protobuf.
    """

    def __init__(
        self, *, endpoint: str, headers: dict[str, str], http: HttpClient, sample_share: float
    ) -> None:
        self._url = endpoint.rstrip("/") + TRACES_PATH
        self._headers = {**headers, "content-type": "application/x-protobuf"}
        self._http = http
        self._queue = _Queue()
        resource = Resource({"service.name": "agenthub", "service.version": version("agenthub")})
        sampler = ParentBased(TraceIdRatioBased(sample_share))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("agenthub")
        self._tasks = asyncio.TaskGroup()
        self._exporter: asyncio.Task[None] | None = None
        self._fault: str | None = None

    @property
    def is_on(self) -> bool:
        return True

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._exporter = self._tasks.create_task(self._export_on(), name="trace-exporter")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._exporter is not None:
            self._exporter.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._export(self._queue.take(), LAST_EXPORT_TIMEOUT_S)

    @contextmanager
    def span(self, name: str, kind: SpanKind, *, parent: str | None = None) -> Generator[Span]:
        context: Context | None = None
        if parent is not None:
            context = _propagator.extract({"traceparent": parent})
        # What an exception says may hold arguments, so it does not go into the span.
        with self._tracer.start_as_current_span(
            name,
            context,
            kind=_KINDS[kind],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield _OtelSpan(span)
            except BaseException:
                span.set_status(Status(StatusCode.ERROR))
                raise

    async def _export_on(self) -> None:
        while True:
            await asyncio.sleep(EXPORT_EVERY_S)
            while self._queue.spans:
                if not await self._export(self._queue.take(), EXPORT_TIMEOUT_S):
                    break

    async def _export(self, spans: list[ReadableSpan], timeout_s: float) -> bool:
        """Send a batch; one that is not taken is given up, and that is said once."""
        if not spans:
            return True
        fault: str | None = None
        try:
            body = encode_spans(spans).SerializeToString()
            async with (
                asyncio.timeout(timeout_s),
                self._http.request(
                    "POST",
                    self._url,
                    headers=self._headers,
                    body=body,
                    timeout_s=timeout_s,
                ) as answer,
            ):
                if answer.status >= 300:
                    fault = f"HTTP {answer.status}"
        except HubError as error:
            fault = error.message
        except TimeoutError:
            fault = f"no answer within {timeout_s:.0f} s"
        except Exception:
            # Whatever is wrong with a trace, the hub that is traced goes on.
            _logger.exception("traces cannot be sent")
            return False
        if fault is not None and fault != self._fault:
            _logger.warning("traces are not taken by the collector: %s", fault)
        self._fault = fault
        return fault is None
