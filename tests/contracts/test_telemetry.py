"""Spans, real and fake: what is below what, and the context that is carried on."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agenthub.adapters.outbound.telemetry.chosen import ChosenTelemetry
from agenthub.adapters.outbound.telemetry.otlp import OtlpTelemetry
from agenthub.domain.exceptions import TimedOutError
from agenthub.domain.ports.outbound.http import HttpClient, HttpResponse
from agenthub.domain.ports.outbound.telemetry import SpanKind, Telemetry
from tests.fakes.telemetry import FakeTelemetry, KeptSpan
from tests.support.waiting import eventually

TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
AGENT = f"00-{7:032x}-{8:016x}-01"


@dataclass(frozen=True, slots=True)
class Told:
    """A span as whoever collects it sees it; ids are hexadecimal, `parent` empty for a root."""

    name: str
    span_id: str
    parent: str
    facts: Mapping[str, Any]
    is_error: bool


class _Taken(HttpResponse):
    status = 200
    headers: Mapping[str, str] = {}

    async def read(self) -> bytes:
        return b""

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""


class FakeCollector(HttpClient):
    """Keeps the bodies that it takes; raises `fault` instead, if it has one."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.fault: Exception | None = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float | None,
    ) -> AsyncGenerator[HttpResponse]:
        if self.fault is not None:
            raise self.fault
        self.bodies.append(body or b"")
        yield _Taken()


@dataclass
class Tracing:
    """An entered telemetry. `told` gives the spans that ended, once all of them did."""

    telemetry: Telemetry
    told: Callable[[], list[Told]]


@asynccontextmanager
async def real() -> AsyncGenerator[Tracing]:
    collector = FakeCollector()
    async with otlp_of(collector) as telemetry:

        def told() -> list[Told]:
            return [one for body in collector.bodies for one in _spans_of(body)]

        yield Tracing(telemetry, told)


def otlp_of(collector: HttpClient) -> OtlpTelemetry:
    return OtlpTelemetry(
        endpoint="http://collector.example", headers={}, http=collector, sample_share=1.0
    )


@asynccontextmanager
async def fake() -> AsyncGenerator[Tracing]:
    telemetry = FakeTelemetry()
    telemetry.on = True
    yield Tracing(telemetry, lambda: [_told_of(span) for span in telemetry.spans if span.is_over])


def _told_of(span: KeptSpan) -> Told:
    ids = _id_of(span.traceparent), _id_of(span.parent)
    return Told(span.name, *ids, span.facts, span.is_failed)


def ids_of(traceparent: str | None) -> tuple[str, str]:
    """Read trace id and span id; insist on the form that W3C gives a traceparent."""
    found = TRACEPARENT.fullmatch(traceparent or "")
    assert found is not None, traceparent
    return found[1], found[2]


def _id_of(traceparent: str | None) -> str:
    return "" if traceparent is None else ids_of(traceparent)[1]


def _spans_of(body: bytes) -> list[Told]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Told(
            span.name,
            span.span_id.hex(),
            span.parent_span_id.hex(),
            {one.key: one.value.string_value for one in span.attributes},
            span.status.code == span.status.STATUS_CODE_ERROR,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


Entered = Callable[[], AbstractAsyncContextManager[Tracing]]
both = pytest.mark.parametrize("entered", [fake, real])


@both
async def test_a_span_is_below_the_context_that_it_is_given(entered: Entered) -> None:
    async with entered() as tracing:
        with tracing.telemetry.span("a", SpanKind.SERVER, parent=AGENT) as span:
            context = span.traceparent
        with tracing.telemetry.span("b", SpanKind.SERVER) as other:
            root = other.traceparent
    below, own = tracing.told()
    assert (below.parent, own.parent) == (f"{8:016x}", "")
    assert ids_of(context) == (f"{7:032x}", below.span_id)
    assert ids_of(root)[0] != f"{7:032x}"


@both
async def test_a_span_without_a_context_is_below_the_one_that_is_open(entered: Entered) -> None:
    async with entered() as tracing:
        with tracing.telemetry.span("outer", SpanKind.SERVER, parent=AGENT) as outer:
            with tracing.telemetry.span("inner", SpanKind.CLIENT) as inner:
                assert outer.traceparent != inner.traceparent
            trace_id, _ = ids_of(inner.traceparent)
    told = {one.name: one for one in tracing.told()}
    assert told["inner"].parent == told["outer"].span_id
    assert trace_id == f"{7:032x}"


@both
@pytest.mark.parametrize("parent", ["", "nonsense", f"00-{0:032x}-{0:016x}-01"])
async def test_a_context_that_is_none_begins_a_trace(entered: Entered, parent: str) -> None:
    async with entered() as tracing:
        with tracing.telemetry.span("a", SpanKind.SERVER, parent=parent) as span:
            ids_of(span.traceparent)
    assert [one.parent for one in tracing.told()] == [""]


@both
async def test_what_fails_is_marked_and_what_it_says_is_not_kept(entered: Entered) -> None:
    async with entered() as tracing:
        with (
            pytest.raises(ValueError, match="s3cr3t"),
            tracing.telemetry.span("raised", SpanKind.CLIENT),
        ):
            raise ValueError("s3cr3t")
        with tracing.telemetry.span("told", SpanKind.CLIENT) as span:
            span.set("error.type", "tool_error")
        with tracing.telemetry.span("good", SpanKind.CLIENT) as span:
            span.set("mcp.method.name", "tools/call")
    told = {one.name: one for one in tracing.told()}
    assert {name: one.is_error for name, one in told.items()} == {
        "raised": True,
        "told": True,
        "good": False,
    }
    assert told["good"].facts == {"mcp.method.name": "tools/call"}
    assert "s3cr3t" not in str(told)


async def test_an_exported_span_holds_nothing_of_an_exception() -> None:
    collector = FakeCollector()
    async with otlp_of(collector) as telemetry:
        with (
            pytest.raises(ValueError, match="s3cr3t"),
            telemetry.span("raised", SpanKind.CLIENT),
        ):
            raise ValueError("s3cr3t")
    [body] = collector.bodies
    assert b"s3cr3t" not in body
    assert b"ValueError" not in body


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a", TimedOutError("The collector did not answer.")),
        ("a", RuntimeError("A fault of the client.")),
        ("no text: \ud800", None),
    ],
)
async def test_spans_that_cannot_be_sent_harm_nobody(
    name: str, fault: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    collector = FakeCollector()
    collector.fault = fault
    async with otlp_of(collector) as telemetry:
        with telemetry.span(name, SpanKind.SERVER):
            pass
        await eventually(lambda: caplog.records, what="the exporter says so")
        collector.fault = None
        with telemetry.span("later", SpanKind.SERVER):
            pass
    assert [one.name for body in collector.bodies for one in _spans_of(body)] == ["later"]


async def test_without_a_collector_nothing_is_traced() -> None:
    chosen = ChosenTelemetry(endpoint=None, headers={}, http=FakeCollector(), sample_share=1.0)
    async with chosen as telemetry:
        assert not telemetry.is_on
        with telemetry.span("a", SpanKind.SERVER, parent=AGENT) as span:
            span.set("error.type", "x")
            assert span.traceparent is None


async def test_with_a_collector_tracing_is_on_and_flushed_at_the_end() -> None:
    collector = FakeCollector()
    chosen = ChosenTelemetry(
        endpoint="http://collector.example/", headers={}, http=collector, sample_share=1.0
    )
    async with chosen as telemetry:
        assert telemetry.is_on
        with telemetry.span("a", SpanKind.SERVER):
            pass
    assert [one.name for body in collector.bodies for one in _spans_of(body)] == ["a"]
    assert not chosen.is_on
