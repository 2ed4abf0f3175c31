"""What `agenthub top` makes of what a hub says."""

from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from agenthub.adapters.inbound.cli.top.frame import Frame, Frames
from agenthub.adapters.inbound.cli.top.metrics import CallCounts, Metrics, read_metrics
from agenthub.adapters.inbound.cli.top.reading import Reading, Spend
from agenthub.adapters.inbound.cli.top.view import duration, event_words, latency, render, usd
from agenthub.adapters.inbound.http.metrics import Counters, Numbers
from agenthub.adapters.inbound.http.metrics_page import exposition
from agenthub.domain.services.resilience.stats import CallStats
from tests.fakes.clock import NEW_YEAR

ADDRESS = "http://127.0.0.1:8000"
NO_SPEND = Spend(0, None, hard_stop=False)


def counts(good: int, bad: int = 0, **buckets: int) -> CallCounts:
    return CallCounts(good, bad, {float(le.replace("_", ".")): n for le, n in buckets.items()})


def server(name: str, **more: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "status": "ready", "health": "healthy", **more}


def gate(*breakers: tuple[str, float | None], **more: Any) -> dict[str, Any]:
    given = {"in_flight": 0, "queued": 0, "paused_for_s": 0.0, **more}
    return {
        "instances": [
            {"breaker": {"state": state, "retry_after_s": wait_s}, **given}
            for state, wait_s in breakers
        ]
    }


def reading(
    *servers: dict[str, Any],
    at_s: float = 0.0,
    gates: dict[str, dict[str, Any]] | None = None,
    calls: dict[str, CallCounts] | None = None,
    spend: Spend = NO_SPEND,
) -> Reading:
    return Reading(
        at=NEW_YEAR + timedelta(seconds=at_s),
        looked_at=at_s,
        servers=list(servers),
        gates={f"id-{name}": one for name, one in (gates or {}).items()},
        metrics=Metrics(calls or {}, NEW_YEAR.timestamp() - 60),
        today={"demo": 60_000_000},
        spend=spend,
    )


def drawn(
    frame: Frame | None, columns: int = 80, lines: int = 0, events: Any = (), **more: Any
) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=columns, no_color=True, force_terminal=False)
    console.print(render(frame, ADDRESS, list(events), size=(columns, lines), **more))
    return file.getvalue().splitlines()


async def test_the_hubs_own_metrics_are_understood() -> None:
    stats = CallStats()
    for took_s, outcome in ((0.004, "ok"), (0.2, "ok"), (0.3, "input_required"), (0.0, "refused")):
        stats.count("demo", "tools/call", outcome, took_s)
    stats.count("demo", "prompts/get", "ok", 1000.0)
    text = exposition(Numbers(Counters(), calls=list(stats.series.items()))).decode()
    found = read_metrics(text)
    demo = found.calls["demo"]
    assert (demo.good, demo.bad) == (4, 1)
    assert (demo.buckets[0.005], demo.buckets[0.25], demo.buckets[0.5]) == (1, 2, 3)
    assert demo.buckets[float("inf")] == 4


def test_what_is_no_metric_is_passed_over() -> None:
    found = read_metrics('# HELP x y\nnonsense\nother{server="a"} 1.0\n\nup 1')
    assert (found.calls, found.started_at) == ({}, None)


@pytest.mark.parametrize(
    ("buckets", "share", "wanted"),
    [
        ({}, 0.5, None),
        ({"1": 0, "inf": 0}, 0.5, None),
        ({"1": 10, "2": 10, "inf": 10}, 0.5, 0.5),
        ({"1": 5, "2": 10, "inf": 10}, 0.95, 1.9),
        ({"1": 0, "2": 0, "inf": 3}, 0.95, 2.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(
    buckets: dict[str, int], share: float, wanted: float | None
) -> None:
    found = CallCounts(10, 0, {float(le): n for le, n in buckets.items()}).quantile_s(share)
    assert found == (None if wanted is None else pytest.approx(wanted))


def test_rates_are_of_the_time_since_the_look_before() -> None:
    frames = Frames()
    first = frames.take(reading(server("demo"), calls={"demo": counts(100, 10)})).rows[0]
    assert (first.calls_per_s, first.errors_per_s) == (None, None)
    later = reading(server("demo"), at_s=2.0, calls={"demo": counts(140, 20)})
    row = frames.take(later).rows[0]
    assert (row.calls_per_s, row.errors_per_s) == (25.0, 5.0)


def test_a_hub_that_began_anew_has_no_negative_rates() -> None:
    frames = Frames()
    frames.take(reading(server("demo"), calls={"demo": counts(100, 10)}))
    row = frames.take(reading(server("demo"), at_s=1.0, calls={"demo": counts(3, 1)})).rows[0]
    assert (row.calls_per_s, row.errors_per_s) == (4.0, 1.0)


def test_latencies_are_of_the_last_minute() -> None:
    def look(at_s: float, fast: int, slow: int) -> float | None:
        buckets = {1.0: fast, 2.0: fast + slow, float("inf"): fast + slow}
        calls = {"demo": CallCounts(fast + slow, 0, buckets)}
        return frames.take(reading(server("demo"), at_s=at_s, calls=calls)).rows[0].p50_s

    frames = Frames()
    assert look(0, 10, 0) == pytest.approx(0.5)
    assert look(1, 10, 10) == pytest.approx(1.5)
    assert look(30, 10, 10) == pytest.approx(1.5)
    assert look(200, 10, 10) == pytest.approx(1.0)


def test_the_worst_instance_speaks_for_its_server() -> None:
    gates = {"demo": gate(("closed", 0.0), ("open", 9.0), ("open", 4.0), in_flight=2, queued=1)}
    row = Frames().take(reading(server("demo"), gates=gates)).rows[0]
    assert (row.breaker, row.instances_in_breaker, row.instances) == ("open", 2, 3)
    assert (row.retry_after_s, row.in_flight, row.queued) == (4.0, 6, 3)


def test_servers_in_trouble_come_first() -> None:
    servers = [
        server("a"),
        server("b", status="disabled", health="unknown"),
        server("c", health="unhealthy"),
        server("d"),
        server("e", status="unreachable"),
        server("f"),
    ]
    gates = {"d": gate(("half_open", None)), "f": gate(("closed", 0.0), paused_for_s=3.0)}
    frame = Frames().take(reading(*servers, gates=gates))
    assert [row.name for row in frame.rows] == ["c", "d", "e", "f", "a", "b"]


def test_a_frame_fits_into_80_columns_and_needs_no_colour() -> None:
    name = "a-server-with-a-very-long-name-1"
    gates = {name: gate(("open", 12.4), ("closed", 0.0), in_flight=123, queued=1000)}
    calls = {name: counts(10**6, 10**5, **{"60": 10, "inf": 10**6})}
    frames = Frames()
    frames.take(reading(server(name)))
    spend = Spend(123_456_780_000_000, 10**16, hard_stop=True)
    event = {"type": "server.status", "at": NEW_YEAR.isoformat(), "server": name}
    events = [{**event, "status": "unreachable", "detail": "x" * 300}]
    frame = frames.take(reading(server(name), at_s=1, gates=gates, calls=calls, spend=spend))
    lines = drawn(frame, events=events)
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)
    heads, row = (next(line for line in lines if word in line) for word in ("CALL/S", "open 1/2"))
    for head in ("SERVER", "STATUS", "BREAKER", "BUSY", "CALL/S", "ERR/S", "P50", "P95", "TODAY"):
        assert head in heads
    for value in ("open 1/2 12s", "246+2000", "1100000", "100000"):
        assert value in row


def test_a_wide_terminal_shows_health_beside_the_status() -> None:
    frame = Frames().take(reading(server("demo", health="unhealthy")))
    assert "HEALTH" in "\n".join(drawn(frame, columns=120))
    assert "unhealthy" in "\n".join(drawn(frame, columns=80))


def test_servers_beyond_the_screen_are_counted() -> None:
    frame = Frames().take(reading(*(server(f"s{n:02}") for n in range(50))))
    lines = drawn(frame, lines=24)
    assert len(lines) <= 24
    shown = sum(line.startswith("s") for line in lines)
    assert f"... and {50 - shown} more" in lines


def test_the_month_is_told_against_the_budget() -> None:
    spend = Spend(80_500_000_000, 100_000_000_000, hard_stop=True)
    text = "\n".join(drawn(Frames().take(reading(spend=spend))))
    assert "$80.50 of $100.00 (80 %), stops at the limit" in text
    free = "\n".join(drawn(Frames().take(reading())))
    assert "no budget of the hub" in free
    assert "No servers yet" in free


def test_a_hub_that_is_away_is_said_above_what_was_seen_last() -> None:
    frame = Frames().take(reading(server("demo")))
    text = "\n".join(drawn(frame, trouble="No hub answers."))
    assert "No hub answers." in text
    assert "demo" in text
    assert "No hub answers." in "\n".join(drawn(None, trouble="No hub answers."))


def test_what_others_write_cannot_move_the_cursor_or_style_the_text() -> None:
    event = {
        "type": "server.status",
        "at": NEW_YEAR.isoformat(),
        "server": "demo",
        "status": "unreachable",
        "detail": "\x1b[2J[bold]x[/bold]\r\nnext\u202e",
    }
    lines = drawn(Frames().take(reading(server("demo"))), columns=200, events=[event])
    assert not {"\x1b", "\r", "\u202e"} & set("".join(lines))
    assert any("[bold]x[/bold]" in line and "next" in line for line in lines)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            {
                "type": "breaker.changed",
                "server": "demo",
                "tool": "add",
                "before": "closed",
                "state": "open",
                "reason": "failures",
            },
            "demo/add: breaker closed -> open (failures)",
        ),
        (
            {
                "type": "budget.alert",
                "scope": "hub",
                "subject": "",
                "percent": 80,
                "spent_nano_usd": 80_000_000_000,
                "limit_nano_usd": 100_000_000_000,
            },
            "budget of the hub: 80 % used, $80.00 of $100.00",
        ),
        ({"type": "server.status", "server": "demo", "status": "ready"}, "demo: ready"),
        (
            {"type": "approval_request", "request_id": "A1", "server": "demo", "tool": "add"},
            "demo/add: approval waits for you, agenthub inbox answer A1",
        ),
        (
            {"type": "sampling_request", "request_id": "S1", "server": "demo", "tool": None},
            "demo: sampling waits for you, agenthub inbox answer S1",
        ),
    ],
)
def test_events_are_said_in_a_line(event: dict[str, Any], words: str) -> None:
    assert event_words(event) == words


def test_amounts_and_durations_are_short() -> None:
    shown = [usd(n) for n in (0, 1, 60_000_000, 1_234_567_890, 99_999_000_000_000)]
    assert shown == ["$0.00", "<$0.0001", "$0.0600", "$1.23", "$99999"]
    assert [duration(s) for s in (5, 3_700, 100_000)] == ["0 min 5 s", "1 h 1 min", "1 d 3 h"]
    taken = [latency(s) for s in (None, 0.0004, 0.9994, 1.25, 9.96, 300.0)]
    assert taken == ["-", "0ms", "999ms", "1.2s", "10s", "300s"]


def test_a_frame_is_a_document_for_programs() -> None:
    taken = Frames().take(reading(server("demo")))
    document = replace(taken).as_document(ADDRESS, [{"type": "x"}])
    assert (document["hub"], document["events"], document["uptime_s"]) == (
        ADDRESS,
        [{"type": "x"}],
        60.0,
    )
    [row] = document["servers"]
    assert (row["name"], row["today_nano_usd"]) == ("demo", 60_000_000)
