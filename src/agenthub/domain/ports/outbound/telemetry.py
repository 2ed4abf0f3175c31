"""Traces of what the hub does, for whoever collects them."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from enum import StrEnum


class SpanKind(StrEnum):
    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class Span(ABC):
    """One timed piece of work; it ends with its `with` block, an exception marks it failed."""

    @abstractmethod
    def set(self, name: str, value: str | int | float | bool) -> None:
        """Note a fact. Names are those of the OpenTelemetry semantic conventions."""

    @property
    @abstractmethod
    def traceparent(self) -> str | None:
        """The W3C trace context that carries this span on; None while nothing is traced."""


class Telemetry(ABC):
    """Starts spans. Without a configured collector it does nothing, at next to no cost."""

    @property
    @abstractmethod
    def is_on(self) -> bool:
        """Whether spans go anywhere."""

    @abstractmethod
    def span(
        self, name: str, kind: SpanKind, *, parent: str | None = None
    ) -> AbstractContextManager[Span]:
        """Start a span below `parent` (a traceparent), or below the flow's present one."""
