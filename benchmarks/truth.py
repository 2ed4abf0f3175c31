"""Whether `retry_after` was true: who waits so long is let through."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from statistics import median

from benchmarks.paced import Call

GUARDS = frozenset(
    {
        "circuit_open",
        "server_paused",
        "server_overloaded",
        "rate_limited",
        "quota_exceeded",
    }
)
"""Codes of the hub's own refusals; any other failure was let through to its server."""

SLACK_S = 0.25
"""What the steady calls leave between two of one server, and some for the machine."""


class Truth(StrEnum):
    """TRUE: a call at that time was let through. OVERTAKEN: the probe that was under way failed
    in between. UNTRIED: the measurement was over before. FALSE: refused again by the same guard.
    """

    TRUE = "true"
    OVERTAKEN = "overtaken by a failed probe"
    UNTRIED = "not tried"
    FALSE = "false"


def refusals(calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if call.code in GUARDS]


def judge(refusal: Call, of_server: Sequence[Call], sent: Sequence[float]) -> Truth:
    """Judge one refusal by the other calls to its server, sorted by when they were `sent`."""
    assert refusal.retry_after_s is not None
    told_at = refusal.ended
    due = told_at + refusal.retry_after_s
    later = of_server[bisect_left(sent, told_at) : bisect_left(sent, due + SLACK_S)]
    if any(call.code not in GUARDS for call in later):
        return Truth.TRUE
    again = [call for call in later if call.sent >= due]
    if not again:
        return Truth.UNTRIED
    if all(call.code != refusal.code for call in again):
        return Truth.TRUE
    before = of_server[: bisect_left(sent, told_at)]
    is_overtaken = any(c.code not in {*GUARDS, ""} and c.ended > refusal.sent for c in before)
    return Truth.OVERTAKEN if is_overtaken else Truth.FALSE


def examine(calls: Sequence[Call]) -> dict:
    """Judge every refusal of a measurement, by its code."""
    by_server: dict[int, list[Call]] = {}
    for call in sorted(calls, key=lambda call: call.sent):
        by_server.setdefault(call.server, []).append(call)
    told: dict[str, list[float]] = {}
    silent: Counter[str] = Counter()
    verdicts: dict[str, Counter[str]] = {}
    for of_server in by_server.values():
        sent = [call.sent for call in of_server]
        for refusal in refusals(of_server):
            if refusal.retry_after_s is None:
                silent[refusal.code] += 1
                continue
            told.setdefault(refusal.code, []).append(refusal.retry_after_s)
            truth = judge(refusal, of_server, sent)
            verdicts.setdefault(refusal.code, Counter())[truth.value] += 1
    return {
        code: {
            "refusals": len(told.get(code, [])) + silent[code],
            "without_retry_after": silent[code],
            "retry_after_s": _span(told.get(code, [])),
            **verdicts.get(code, {}),
        }
        for code in sorted({*told, *silent})
    }


def _span(seconds: list[float]) -> list[float]:
    """The least, the median and the most."""
    if not seconds:
        return []
    return [round(value, 2) for value in (min(seconds), median(seconds), max(seconds))]
