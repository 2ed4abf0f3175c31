"""Spans in memory, with contexts that count up."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from agenthub.domain.ports.outbound.telemetry import Span, SpanKind, Telemetry

_CONTEXT = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_open: ContextVar["KeptSpan | None"] = ContextVar("_open", default=None)


@dataclass
class KeptSpan(Span):
    """`parent` is the traceparent of the span above, None for a root."""

    name: str
    kind: SpanKind
    parent: str | None
    number: int
    facts: dict[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool]
    )
    is_over: bool = False
    is_failed: bool = False

    def set(self, name: str, value: str | int | float | bool) -> None:
        self.facts[name] = value
        self.is_failed |= name == "error.type"

    @property
    def traceparent(self) -> str:
        above = None if self.parent is None else _CONTEXT.fullmatch(self.parent)
        trace_id = f"{self.number:032x}" if above is None else above[1]
        return f"00-{trace_id}-{self.number:016x}-01"


class FakeTelemetry(Telemetry):
    """Off until `on` is set; then every span is in `spans`, in the order of starting."""

    def __init__(self) -> None:
        self.on = False
        self.spans: list[KeptSpan] = []

    @property
    def is_on(self) -> bool:
        return self.on

    @contextmanager
    def span(self, name: str, kind: SpanKind, *, parent: str | None = None) -> Generator[Span]:
        if parent is None:
            above = _open.get()
            parent = None if above is None else above.traceparent
        elif not _CONTEXT.fullmatch(parent):
            parent = None
        kept = KeptSpan(name, kind, parent, len(self.spans) + 1)
        if self.on:
            self.spans.append(kept)
        token = _open.set(kept)
        try:
            yield kept
        except BaseException:
            kept.is_failed = True
            raise
        finally:
            kept.is_over = True
            _open.reset(token)
