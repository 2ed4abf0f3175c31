"""A person hears of changes for the worse and back, once each."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.notices.news import News

BAD = ("unreachable", "unhealthy", "unauthorized")
ALL = (*BAD, "connecting", "ready", "healthy", "registered", "disabled", "removed")


def told(*statuses: str, server: str = "S1", news: News | None = None) -> list[str]:
    taker = news or News()
    facts = [{"server_id": server, "server": "time", "status": status} for status in statuses]
    return [f["status"] for f in facts if taker.take("server.status", f)]


def breaker(state: str, *, tool: str = "", instance: str = "I1") -> dict[str, Any]:
    return {"server_id": "S1", "instance": instance, "tool": tool, "state": state}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("registered connecting ready", ""),
        ("connecting ready connecting ready", ""),
        ("ready unreachable", "unreachable"),
        ("ready unreachable connecting unreachable", "unreachable"),
        ("ready unreachable unhealthy ready healthy", "unreachable ready"),
        ("ready unhealthy unreachable connecting healthy ready", "unhealthy healthy"),
        ("connecting unauthorized unreachable ready", "unauthorized unreachable ready"),
        ("unreachable disabled connecting ready", "unreachable"),
        ("unreachable removed registered ready", "unreachable"),
    ],
)
def test_a_server_is_told_of_when_it_goes_bad_and_when_it_is_back(
    statuses: str, expected: str
) -> None:
    assert told(*statuses.split()) == expected.split()


def test_servers_are_told_of_each_by_itself() -> None:
    news = News()
    assert told("unreachable", news=news) == ["unreachable"]
    assert told("unreachable", "ready", server="S2", news=news) == ["unreachable", "ready"]
    assert told("ready", news=news) == ["ready"]


def test_instances_are_told_of_each_by_itself() -> None:
    news = News()
    second = {"server_id": "S1", "server": "time", "instance": "I2"}
    assert news.take("server.status", {**second, "status": "unhealthy"})
    assert told("ready", "healthy", news=news) == []
    assert news.take("server.status", {**second, "status": "healthy"})
    assert news.take("server.status", {**second, "status": "unhealthy"})
    told("removed", news=news)
    assert not news.take("server.status", {**second, "status": "healthy"})


@given(st.lists(st.sampled_from(ALL), max_size=40))
def test_good_news_comes_only_after_bad_and_never_twice(statuses: list[str]) -> None:
    last_was_bad = False
    for status in told(*statuses):
        assert status in BAD or last_was_bad
        assert status not in ("connecting", "registered", "disabled", "removed")
        last_was_bad = status in BAD


def test_a_breaker_is_told_of_when_it_opens_and_when_it_closes_not_while_it_tries() -> None:
    news = News()
    steps = ["open", "half_open", "open", "half_open", "closed", "closed", "forced_open"]
    said = [step for step in steps if news.take("breaker.changed", breaker(step))]
    assert said == ["open", "closed", "forced_open"]


def test_breakers_of_tools_and_instances_are_different_ones() -> None:
    news = News()
    assert news.take("breaker.changed", breaker("open"))
    assert news.take("breaker.changed", breaker("open", tool="add"))
    assert news.take("breaker.changed", breaker("open", instance="I2"))
    assert not news.take("breaker.changed", breaker("open", tool="add"))


def test_everything_else_is_news() -> None:
    assert News().take("budget.alert", {})
