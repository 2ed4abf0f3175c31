"""The metrics page, in the text format of Prometheus. Import it only to write one."""

import asyncio
from collections.abc import Generator, Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from agenthub.adapters.inbound.http.metrics import Counters, Numbers
from agenthub.domain.entities.endpoints import ConnectionStatus
from agenthub.domain.entities.resilience.circuit_breaker import State
from agenthub.domain.services.endpoints import EndpointReport
from agenthub.domain.services.resilience.desk import ServerGate
from agenthub.domain.services.resilience.stats import BOUNDS_S, Series

_GOOD = frozenset({"ok", "input_required"})


def exposition(numbers: Numbers) -> bytes:
    """Write all numbers in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(numbers))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterable[Metric]:
        numbers = self._numbers
        yield _requests(numbers.counters)
        yield from _servers(numbers.reports)
        yield _durations(numbers.calls)
        yield from _gates(numbers.gates)
        yield GaugeMetricFamily(
            "agenthub_tasks", "Tasks of the hub's event loop.", len(asyncio.all_tasks())
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing before it is collected."""
        return ()


def _requests(counters: Counters) -> Metric:
    family = CounterMetricFamily(
        "agenthub_http_requests",
        "Requests answered by the REST interface.",
        labels=("method", "route", "status"),
    )
    for (method, route, status), number in sorted(counters.requests.items()):
        family.add_metric((method, route, str(status)), number)
    return family


def _servers(reports: Sequence[EndpointReport]) -> Generator[Metric]:
    statuses = GaugeMetricFamily(
        "agenthub_server_status",
        "Whether a server is in a status (1) or not (0).",
        labels=("server", "status"),
    )
    items = GaugeMetricFamily(
        "agenthub_server_items", "What a server offers, by kind.", labels=("server", "kind")
    )
    for report in reports:
        server = report.endpoint.name
        for status in ConnectionStatus:
            statuses.add_metric((server, status.value), int(report.state.status is status))
        for kind, number in report.counts.items():
            items.add_metric((server, kind), number)
    yield statuses
    yield items


def _durations(calls: Sequence[tuple[tuple[str, str, str], Series]]) -> Metric:
    """Source: OpenTelemetry semantic conventions for MCP, `mcp.client.operation.duration`."""
    family = HistogramMetricFamily(
        "mcp_client_operation_duration_seconds",
        "Requests to servers, guards included; error_type is empty where all went well.",
        labels=("server", "mcp_method_name", "error_type"),
    )
    for (server, method, error), series in sorted(_by_error(calls).items()):
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, number in zip((*BOUNDS_S, float("inf")), series.buckets, strict=True):
            total += number
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        family.add_metric((server, method, error), buckets, series.total_s)
    return family


def _by_error(
    calls: Sequence[tuple[tuple[str, str, str], Series]],
) -> dict[tuple[str, str, str], Series]:
    """Join the outcomes that are no error."""
    joined: dict[tuple[str, str, str], Series] = {}
    for (server, method, outcome), series in calls:
        key = (server, method, "" if outcome in _GOOD else outcome)
        former = joined.get(key)
        joined[key] = series if former is None else former.plus(series)
    return joined


def _gates(gates: Sequence[ServerGate]) -> Generator[Metric]:
    labels = ("server", "instance")
    breakers = GaugeMetricFamily(
        "agenthub_circuit_breaker_state",
        "Whether an instance's circuit breaker is in a state (1) or not (0).",
        labels=(*labels, "state"),
    )
    flights = GaugeMetricFamily(
        "agenthub_bulkhead_in_flight", "Calls that hold a place at an instance.", labels=labels
    )
    queues = GaugeMetricFamily(
        "agenthub_bulkhead_queued", "Calls that wait for a place.", labels=labels
    )
    for gate in gates:
        for one in gate.instances:
            names = (gate.endpoint.name, one.instance.id)
            for state in State:
                value = int(one.breaker.state is state)
                breakers.add_metric((*names, state.value), value)
            flights.add_metric(names, one.in_flight)
            queues.add_metric(names, one.queued)
    yield breakers
    yield flights
    yield queues
