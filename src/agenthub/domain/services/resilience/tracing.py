"""Spans of calls: one for the agent's request, one for each try at a server.

Source: OpenTelemetry semantic conventions for MCP (Development).
"""

import json
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from agenthub.domain.exceptions import HubError, RpcError
from agenthub.domain.ports.outbound.mcp_client import Answer, RawObject
from agenthub.domain.ports.outbound.telemetry import Span, SpanKind, Telemetry
from agenthub.domain.services.resilience.accounts import ending_of_answer

TRACEPARENT = "traceparent"


@dataclass(slots=True)
class Step:
    """One traced part of a call. `meta` is the `_meta` that goes on from here."""

    meta: RawObject
    span: Span | None

    def answered(self, answer: Answer) -> None:
        """Note an answer that says of itself that it is an error."""
        if self.span is None:
            return
        code = ending_of_answer(answer).code
        if code:
            self.span.set("error.type", code)


class CallTracing:
    """Carries an agent's trace context on to the server (`_meta.traceparent`)."""

    def __init__(self, *, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    @property
    def is_on(self) -> bool:
        return self._telemetry.is_on

    @contextmanager
    def serving(self, method: str, tool: str | None, meta: RawObject) -> Generator[Step]:
        """Trace one request of an agent, below the context that it sent."""
        with self._span(SpanKind.SERVER, method, tool, _parent(meta)) as span:
            yield Step(meta, span)

    def calling(
        self, method: str, tool: str | None, server: str, meta: RawObject
    ) -> AbstractContextManager[Step]:
        """Trace one try at a server, and have its context go there."""
        if not self._telemetry.is_on:
            return nullcontext(Step(meta, None))
        return self._traced(method, tool, server, meta)

    @contextmanager
    def _traced(
        self, method: str, tool: str | None, server: str, meta: RawObject
    ) -> Generator[Step]:
        with self._span(SpanKind.CLIENT, method, tool, None) as span:
            span.set("agenthub.server", server)
            context = span.traceparent
            if context is not None:
                meta = {**meta, TRACEPARENT: json.dumps(context).encode()}
            yield Step(meta, span)

    @contextmanager
    def _span(
        self, kind: SpanKind, method: str, tool: str | None, parent: str | None
    ) -> Generator[Span]:
        name = method if tool is None else f"{method} {tool}"
        with self._telemetry.span(name, kind, parent=parent) as span:
            span.set("mcp.method.name", method)
            if tool is not None:
                span.set("gen_ai.tool.name", tool)
                span.set("gen_ai.operation.name", "execute_tool")
            try:
                yield span
            except HubError as error:
                span.set("error.type", error.code)
                raise
            except RpcError as error:
                span.set("error.type", str(error.code))
                raise


def _parent(meta: RawObject) -> str | None:
    """Read the agent's trace context; what is none is none."""
    raw = meta.get(TRACEPARENT)
    if raw is None:
        return None
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
