"""Tracing as it is configured: on with a collector's address, else off and free of charge."""

from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from types import TracebackType
from typing import Self

from agenthub.domain.ports.outbound.http import HttpClient
from agenthub.domain.ports.outbound.telemetry import Span, SpanKind, Telemetry


class _NoSpan(Span):
    def set(self, name: str, value: str | int | float | bool) -> None:
        """Nobody listens."""

    @property
    def traceparent(self) -> str | None:
        return None


_NOTHING = nullcontext[Span](_NoSpan())


class ChosenTelemetry(Telemetry):
    """A resident. `endpoint` is the base address of an OTLP/HTTP collector, None for none.

    `headers` are sent with each export; they may hold a credential. `sample_share` of the traces
    that begin here are recorded; those that an agent began follow its own decision.
    """

    def __init__(
        self,
        *,
        endpoint: str | None,
        headers: dict[str, str],
        http: HttpClient,
        sample_share: float,
    ) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._http = http
        self._sample_share = sample_share
        self._stack = AsyncExitStack()
        self._tracing: Telemetry | None = None

    async def __aenter__(self) -> Self:
        if self._endpoint is not None:
            # The SDK takes time and memory that only who traces should pay.
            from agenthub.adapters.outbound.telemetry.otlp import OtlpTelemetry  # noqa: PLC0415

            tracing = OtlpTelemetry(
                endpoint=self._endpoint,
                headers=self._headers,
                http=self._http,
                sample_share=self._sample_share,
            )
            self._tracing = await self._stack.enter_async_context(tracing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(None, None, None)
        self._tracing = None

    @property
    def is_on(self) -> bool:
        return self._tracing is not None

    def span(
        self, name: str, kind: SpanKind, *, parent: str | None = None
    ) -> AbstractContextManager[Span]:
        if self._tracing is None:
            return _NOTHING
        return self._tracing.span(name, kind, parent=parent)
