"""What a person reads of an event."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from agenthub.domain.entities.notices.target import masked
from agenthub.domain.entities.notices.wording import worded
from agenthub.domain.entities.resilience.circuit_breaker import Reason
from agenthub.domain.event import (
    ApprovalAsked,
    BreakerChanged,
    BudgetAlerted,
    CatalogChanged,
    CostRecorded,
    DefinitionChanged,
    DomainEvent,
    ElicitationAsked,
    SamplingAsked,
    ServerStatusChanged,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, BudgetId, EndpointId, EntryId, RequestId

AT = datetime(2026, 11, 21, tzinfo=UTC)
TIME = EndpointId("S1")
COMMON = {"workspace": DEFAULT_WORKSPACE, "at": AT}


def said(event: DomainEvent) -> tuple[str, str]:
    return worded(event.name, event.facts())


def test_a_servers_status_names_the_server_and_the_reason() -> None:
    event = ServerStatusChanged(
        **COMMON, endpoint_id=TIME, server="time", status="unreachable", detail="refused"
    )
    assert said(event) == ("Server time: unreachable", "refused")
    back = ServerStatusChanged(**COMMON, endpoint_id=TIME, server="time", status="ready")
    assert said(back) == ("Server time: reachable again", "Its status is now ready.")


def test_a_breaker_says_what_it_does_to_calls() -> None:
    event = BreakerChanged(
        **COMMON,
        endpoint_id=TIME,
        server="time",
        instance="S1",
        tool="now",
        before="closed",
        state="open",
        reason="consecutive_failures",
        retry_after_s=5.2,
    )
    assert said(event) == (
        "Server time, tool now: calls are stopped for now",
        "Too many failures in a row; the next try is in 6 s.",
    )


@pytest.mark.parametrize(
    ("state", "reason", "wait_s", "title", "body"),
    [
        ("open", "failure_share", 0.2, "for now", "Too many calls fail; the next try is in 1 s."),
        ("open", "probe_failed", 0.0, "for now", "The call that was tried failed."),
        ("half_open", "probe_due", 0.0, "tried again", "A call is tried."),
        ("closed", "recovered", 0.0, "through again", "A call that was tried went well."),
        ("closed", "operator", 0.0, "through again", "An operator reset it."),
        ("forced_open", "operator", None, "by hand", "An operator switched it off."),
        ("disabled", "operator", 0.0, "is off", "An operator switched its breaker off."),
        ("disabled", "policy", 0.0, "is off", "Its policy was changed."),
    ],
)
def test_why_a_breaker_moved_is_said_in_words(
    state: str, reason: str, wait_s: float | None, title: str, body: str
) -> None:
    facts = {"server": "shop", "state": state, "reason": reason, "retry_after_s": wait_s}
    said_title, said_body = worded("breaker.changed", facts)
    assert said_title.startswith("Server shop: ")
    assert said_title.endswith(title)
    assert said_body == body


def test_there_are_words_for_every_reason_of_a_breaker() -> None:
    for reason in Reason:
        facts = {"server": "shop", "state": "open", "reason": reason.value}
        assert "_" not in worded("breaker.changed", facts)[1]
        assert len(worded("breaker.changed", facts)[1].split()) > 2


@pytest.mark.parametrize(
    ("scope", "subject", "server", "title"),
    [
        ("hub", "", None, "Budget hub: 80 % of $100.00 spent"),
        ("server", "S1", "time", "Budget server time: 80 % of $100.00 spent"),
        ("key", "K1", None, "Budget key K1: 80 % of $100.00 spent"),
    ],
)
def test_a_budget_says_how_much_of_what(
    scope: str, subject: str, server: str | None, title: str
) -> None:
    event = BudgetAlerted(
        **COMMON,
        budget_id=BudgetId("B1"),
        scope=scope,
        subject=subject,
        percent=80,
        spent_nano_usd=81_234_567_890,
        limit_nano_usd=100_000_000_000,
        hard_stop=True,
        server=server,
    )
    assert said(event) == (title, "Spent so far: $81.23 of $100.00.")


def test_a_spent_budget_that_stops_says_so() -> None:
    facts = {"scope": "hub", "percent": 100, "hard_stop": True}
    spent = {"spent_nano_usd": 5_000_000_000, "limit_nano_usd": 5_000_000_000}
    assert worded("budget.alert", facts | spent)[1].endswith("Further calls are refused.")


def test_a_changed_definition_says_whether_the_tool_can_be_called() -> None:
    given = {**COMMON, "endpoint_id": TIME, "server": "time", "tool": "now"}
    assert "held back" in said(DefinitionChanged(**given, held=True))[0]
    assert "can be called" in said(DefinitionChanged(**given, held=False))[1]
    assert "accepted" in said(DefinitionChanged(**given, held=False, decided="accepted"))[0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (SamplingAsked, "asks for a model's answer"),
        (ElicitationAsked, "has a question"),
        (ApprovalAsked, "a call waits for your approval"),
    ],
)
def test_a_question_says_who_asks_and_how_to_answer(
    asked: Callable[..., DomainEvent], words: str
) -> None:
    expires_at = AT + timedelta(minutes=10)
    given = {**COMMON, "request_id": RequestId("R1"), "server": "time", "expires_at": expires_at}
    assert said(asked(**given, tool="now")) == (
        f"Server time, tool now: {words}",
        "Answer until 00:10 UTC, on the dashboard or by 'agenthub inbox answer R1'.",
    )
    assert said(asked(**given, tool=""))[0] == f"Server time: {words}"


def test_a_tools_name_stays_one_line_that_hides_nothing() -> None:
    hostile = "pay\u202egnp\n\nAgentHub: all is well" + "!" * 2_000
    given = {**COMMON, "server": "time", "tool": hostile}
    asked = ApprovalAsked(**given, request_id=RequestId("R1"), expires_at=AT)
    changed = DefinitionChanged(**given, endpoint_id=TIME, held=True)
    stopped = BreakerChanged(
        **given,
        endpoint_id=TIME,
        instance="S1",
        before="closed",
        state="open",
        reason="operator",
    )
    for event in (asked, changed, stopped):
        title, _ = said(event)
        assert title.startswith("Server time, tool pay<U+202E>gnp AgentHub: all is well!!!")
        assert "\n" not in title
        assert len(title) < 200


def test_other_events_are_listed() -> None:
    changed = CatalogChanged(**COMMON, server="time", kinds=("tools",), counts={"tools": 2})
    assert said(changed)[0] == "AgentHub: catalog.changed (time)"
    cost = CostRecorded(
        **COMMON,
        entry_id=EntryId("L1"),
        kind="model",
        purpose="chat",
        subject="owner",
        server=None,
        tool=None,
        model="m",
        status="ok",
        cost_nano_usd=7,
    )
    assert said(cost)[0] == "AgentHub: cost.recorded (the hub)"
    assert "cost_nano_usd: 7" in said(cost)[1]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.com/hooks/s3cr3t?key=s3cr3t", "https://example.com/***"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/***"),
        ("https://u:s3cr3t@example.com", "https://example.com/***"),
        ("mailto://user:s3cr3t@example.com", "mailto://***"),
        ("slack://s3cr3t/s3cr3t/s3cr3t", "slack://***"),
    ],
)
def test_a_shown_address_holds_no_secret(address: str, shown: str) -> None:
    assert masked(address) == shown
