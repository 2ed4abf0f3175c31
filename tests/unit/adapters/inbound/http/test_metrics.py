"""The text that Prometheus reads."""

from agenthub.adapters.inbound.http.metrics import Counters, Counting, exposition
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


def test_label_values_are_escaped() -> None:
    counters = Counters()
    counters.requests["GET", 'a"b\\c\nd', 200] = 1
    line = next(row for row in exposition(counters, []).splitlines() if row[0] != "#")
    assert line == r'agenthub_http_requests_total{method="GET",route="a\"b\\c\nd",status="200"} 1'
