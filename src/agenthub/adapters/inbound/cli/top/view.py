"""A frame as a terminal shows it: in 80 columns as well, and without colour."""

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agenthub.adapters.inbound.cli.inbox.questions import ASKED
from agenthub.adapters.inbound.cli.output import clean
from agenthub.adapters.inbound.cli.top.frame import Frame, Row
from agenthub.adapters.inbound.cli.top.reading import NANO, Spend

WIDE = 100
EVENTS_SHOWN = 5
SHORTEST_NAME = 6
_NUMBERS = ("BUSY", "CALL/S", "ERR/S", "P50", "P95", "TODAY")
_HEADS = ("STATUS", "HEALTH", "BREAKER", *_NUMBERS)
_FRAME_LINES = 5
"""Lines that are neither servers nor events: address, month, gaps and heads."""

_COLOURS = {"ready": "green", "closed": "green", "healthy": "green", "half_open": "yellow"}
_QUIET = frozenset({"disabled", "unknown"})


def render(
    frame: Frame | None,
    address: str,
    events: list[dict[str, Any]],
    *,
    size: tuple[int, int],
    trouble: str | None = None,
) -> RenderableType:
    """Draw one frame into `size` (columns, lines); 0 lines: without an end.

    `trouble` says why there is no newer one.
    """
    columns, lines = size
    parts: list[RenderableType] = [_head(frame, address)]
    if trouble is not None:
        parts.append(Text(clean(trouble), style="bold red"))
    if frame is None:
        return Group(*parts)
    shown = events[:EVENTS_SHOWN]
    room = lines - _FRAME_LINES - len(shown) - 2 if lines else len(frame.rows)
    rows = frame.rows[: max(1, room)]
    parts += [_summary(frame), Text(), _table(rows, columns)]
    if len(rows) < len(frame.rows):
        parts.append(Text(f"... and {len(frame.rows) - len(rows)} more", style="dim"))
    if not frame.rows:
        parts.append(Text("No servers yet: agenthub add NAME ...", style="dim"))
    if shown:
        parts += [Text(), *(_event_line(event) for event in shown)]
    return Group(*parts)


def event_words(event: dict[str, Any]) -> str:
    """Say an event in one line."""
    match event["type"]:
        case "breaker.changed":
            what = f"{event['server']}/{event['tool']}" if event["tool"] else event["server"]
            words = f"{what}: breaker {event['before']} -> {event['state']} ({event['reason']})"
        case "budget.alert":
            spent, limit = usd(event["spent_nano_usd"]), usd(event["limit_nano_usd"])
            words = f"budget of the {event['scope']} {event['subject']}".rstrip()
            words += f": {event['percent']} % used, {spent} of {limit}"
        case kind if kind in ASKED:
            place = "/".join(filter(None, (event["server"], event["tool"])))
            words = f"{place}: {ASKED[kind]} waits for you, agenthub inbox answer "
            words += event["request_id"]
        case _:
            detail = f" ({event['detail']})" if event.get("detail") else ""
            which = f" ({event['instance']})" if event.get("instance") else ""
            words = f"{event.get('server')}{which}: {event.get('status')}{detail}"
    return " ".join(clean(words).split())


def usd(nano: int) -> str:
    """Write an amount in as few digits as tell of it."""
    amount = nano / NANO
    if amount == 0 or amount >= 0.995:
        return f"${amount:.2f}" if amount < 10_000 else f"${amount:.0f}"
    return f"${amount:.4f}" if amount >= 0.0001 else "<$0.0001"


def duration(seconds: float) -> str:
    """Write how long the hub runs."""
    minutes = int(seconds) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {int(seconds) % 60} s"


def latency(seconds: float | None) -> str:
    """Write a duration in at most five characters."""
    if seconds is None:
        return "-"
    if seconds >= 9.95:
        return f"{seconds:.0f}s"
    return f"{seconds:.1f}s" if seconds >= 1 else f"{seconds * 1000:.0f}ms"


def _head(frame: Frame | None, address: str) -> Text:
    head = Text.assemble(("agenthub ", "bold"), clean(address), no_wrap=True, overflow="ellipsis")
    if frame is not None:
        if frame.uptime_s is not None:
            head.append(f"  up {duration(max(0.0, frame.uptime_s))}")
        head.append(f"  {frame.reading.at.astimezone():%H:%M:%S}", style="dim")
    return head


def _summary(frame: Frame) -> Text:
    number = len(frame.rows)
    troubled = sum(row.is_troubled for row in frame.rows)
    line = Text(f"{number} server{'' if number == 1 else 's'}")
    if troubled:
        line.append(f", {troubled} in trouble", style="bold red")
    return line.append(". ").append_text(_month(frame.spend))


def _month(spend: Spend) -> Text:
    if spend.limit_nano_usd is None:
        return Text(f"This month {usd(spend.spent_nano_usd)}, no budget of the hub")
    share = spend.spent_nano_usd * 100 / spend.limit_nano_usd
    style = "bold red" if share >= 100 else "yellow" if share >= 80 else ""
    stop = ", stops at the limit" if spend.hard_stop else ""
    text = f"This month {usd(spend.spent_nano_usd)} of {usd(spend.limit_nano_usd)}"
    return Text(f"{text} ({share:.0f} %){stop}", style=style)


def _table(rows: list[Row], columns: int) -> Table:
    """Draw the servers; where it is narrow, their names give way."""
    is_wide = columns >= WIDE
    heads = [head for head in _HEADS if is_wide or head != "HEALTH"]
    cells = [[*_states(row, is_wide=is_wide), *_numbers(row)] for row in rows]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("SERVER", no_wrap=True)
    room = columns
    for place, head in enumerate(heads):
        width = max([len(head), *(len(line[place]) for line in cells)])
        room -= width + 1
        justify = "right" if head in _NUMBERS else "left"
        table.add_column(head, justify=justify, no_wrap=True, min_width=width)
    for row, line in zip(rows, cells, strict=True):
        name = Text(clean(row.name))
        name.truncate(max(room - 1, SHORTEST_NAME), overflow="ellipsis")
        table.add_row(name, *line)
    return table


def _states(row: Row, *, is_wide: bool) -> list[Text]:
    breaker = _breaker(row)
    if is_wide:
        return [_state(row.status), _state(row.health), breaker]
    is_ill = row.health == "unhealthy" and row.status == "ready"
    return [_state(row.health if is_ill else row.status), breaker]


def _breaker(row: Row) -> Text:
    text = _state(row.breaker)
    if row.instances > 1 and row.breaker != "closed":
        text.append(f" {row.instances_in_breaker}/{row.instances}")
    if row.retry_after_s:
        text.append(f" {row.retry_after_s:.0f}s" if row.retry_after_s >= 1 else " <1s")
    elif row.paused_for_s:
        text = Text(f"paused {max(row.paused_for_s, 1):.0f}s", style="yellow")
    return text


def _state(word: str) -> Text:
    style = "dim" if word in _QUIET else _COLOURS.get(word, "bold red")
    return Text(word, style=style)


def _numbers(row: Row) -> list[Text]:
    busy = f"{row.in_flight}+{row.queued}" if row.queued else str(row.in_flight)
    style = "bold red" if row.errors_per_s else ""
    return [
        Text(busy),
        Text(_rate(row.calls_per_s)),
        Text(_rate(row.errors_per_s), style=style),
        Text(latency(row.p50_s)),
        Text(latency(row.p95_s)),
        Text(usd(row.today_nano_usd)),
    ]


def _rate(per_s: float | None) -> str:
    if per_s is None:
        return "-"
    return f"{per_s:.0f}" if per_s >= 100 or per_s == 0 else f"{per_s:.1f}"


def _event_line(event: dict[str, Any]) -> Text:
    at = datetime.fromisoformat(event["at"]).astimezone()
    line = Text(f"{at:%H:%M:%S} {event_words(event)}", no_wrap=True, overflow="ellipsis")
    line.stylize("dim", 0, 8)
    return line
