"""The text that Prometheus reads."""

from agenthub.adapters.inbound.http.metrics import Counters, Counting, Numbers
from agenthub.adapters.inbound.http.metrics_page import exposition
from agenthub.domain.services.resilience.stats import CallStats
from tests.unit.adapters.inbound.mcp.asgi import http


async def answer(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_labels_stay_few_whatever_is_asked() -> None:
    counters = Counters()
    counting = Counting(answer, counters)
    for number in range(20):
        await http(counting, f"BREW{number}", f"/pot/{number}")._run()
    assert counters.requests == {("other", "unknown", 204): 20}


async def test_label_values_are_escaped() -> None:
    counters = Counters()
    counters.requests["GET", 'a"b\\c\nd', 200] = 1
    rows = exposition(Numbers(counters)).decode().splitlines()
    line = next(row for row in rows if row[0] != "#")
    assert line == r'agenthub_http_requests_total{method="GET",route="a\"b\\c\nd",status="200"} 1.0'


async def test_outcomes_that_are_no_error_are_one_series() -> None:
    stats = CallStats()
    for outcome in ("ok", "input_required", "server_timeout"):
        stats.count("calc", "tools/call", outcome, 0.02)
    rows = exposition(Numbers(Counters(), calls=[*stats.series.items()])).decode().splitlines()
    name = "mcp_client_operation_duration_seconds"
    assert f'{name}_count{{error_type="",mcp_method_name="tools/call",server="calc"}} 2.0' in rows
    assert sum(row.startswith(f"{name}_count") for row in rows) == 2
    assert len({row.split(" ")[0] for row in rows if row[0] != "#"}) == len(
        [row for row in rows if row[0] != "#"]
    )
