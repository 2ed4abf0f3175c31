"""Spans in memory, with contexts that count up."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agenthub.domain.ports.outbound.telemetry import Span, SpanKind, Telemetry


@dataclass
class KeptSpan(Span):
    name: str
    kind: SpanKind
    parent: str | None
    number: int
    facts: dict[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool]
    )
    is_over: bool = False

    def set(self, name: str, value: str | int | float | bool) -> None:
        self.facts[name] = value

    @property
    def traceparent(self) -> str | None:
        return f"00-{1:032x}-{self.number:016x}-01"


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
        kept = KeptSpan(name, kind, parent, len(self.spans) + 1)
        if self.on:
            self.spans.append(kept)
        try:
            yield kept
        finally:
            kept.is_over = True
