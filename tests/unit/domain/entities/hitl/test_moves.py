"""Every move of every question in every state: it goes where it should, or raises."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.exceptions import ConflictError, GoneError, InvalidError
from tests.unit.domain.entities.hitl.samples import (
    FORM,
    LATE,
    LINK,
    NOW,
    approvals,
    elicitation,
    elicitations,
    sampling,
    samplings,
)

JUST_IN_TIME = LATE - timedelta(microseconds=1)
RESULT = {"model": "m"}
DENIED: type[Exception] = ConflictError
TOO_LATE: type[Exception] = GoneError

Outcome = str | type[Exception]
Table = dict[str, dict[str, Outcome]]

COMMON: dict[str, Callable[[Any, datetime], HitlRequest]] = {
    "expired": lambda one, now: one.expired(now),
    "failed": lambda one, now: one.failed("gone", now),
    "undone": lambda one, now: one.undone("gone", now),
    "begun": lambda one, _now: one.begun("L2"),
}
SAMPLING: dict[str, Callable[[SamplingRequest, datetime], HitlRequest]] = COMMON | {
    "approved": lambda one, now: one.approved("key", {"model": "m"}, now),
    "answered": lambda one, now: one.answered(RESULT, None, 5, now),
    "delivered": lambda one, now: one.delivered("key", None, now),
    "rejected": lambda one, now: one.rejected("key", "no", now),
}
ELICITATION: dict[str, Callable[[ElicitationRequest, datetime], HitlRequest]] = COMMON | {
    "answered": lambda one, now: one.answered("key", Action.ACCEPT, {}, now),
}
APPROVAL: dict[str, Callable[[ToolApproval, datetime], HitlRequest]] = COMMON | {
    "approved": lambda one, now: one.approved("key", {}, now),
    "denied": lambda one, now: one.denied("key", "no", now),
    "completed": lambda one, now: one.completed(now),
}

# What is not in a row raises ConflictError. The moment is just before the end of its time.
SAMPLING_IN_TIME: Table = {
    "pending": {
        "approved": "approved",
        "rejected": "rejected",
        "failed": "failed",
        "undone": "failed",
    },
    "approved": {"begun": "approved", "failed": "failed", "undone": "failed"},
    "begun": {"answered": "completed", "failed": "failed", "undone": "failed"},
    "reviewed": {
        "delivered": "completed",
        "rejected": "rejected",
        "failed": "failed",
        "undone": "failed",
    },
    "completed": {"undone": "completed"},
    "rejected": {},
    "failed": {},
    "expired": {"approved": TOO_LATE, "delivered": TOO_LATE, "rejected": TOO_LATE},
}
SAMPLING_LATE: Table = SAMPLING_IN_TIME | {
    "pending": {
        "approved": TOO_LATE,
        "rejected": TOO_LATE,
        "failed": "failed",
        "undone": "failed",
        "expired": "expired",
    },
    "reviewed": {
        "delivered": TOO_LATE,
        "rejected": TOO_LATE,
        "failed": "failed",
        "undone": "failed",
        "expired": "expired",
    },
}
ELICITATION_IN_TIME: Table = {
    "pending": {"answered": "completed", "failed": "failed", "undone": "failed"},
    "completed": {"undone": "completed"},
    "failed": {},
    "expired": {"answered": TOO_LATE},
}
ELICITATION_LATE: Table = ELICITATION_IN_TIME | {
    "pending": {"answered": TOO_LATE, "failed": "failed", "undone": "failed", "expired": "expired"},
}
APPROVAL_IN_TIME: Table = {
    "pending": {
        "approved": "approved",
        "denied": "rejected",
        "failed": "failed",
        "undone": "failed",
    },
    "approved": {"begun": "approved", "failed": "failed", "undone": "failed"},
    "begun": {"completed": "completed", "failed": "failed", "undone": "failed"},
    "completed": {"undone": "completed"},
    "rejected": {},
    "failed": {},
    "expired": {"approved": TOO_LATE, "denied": TOO_LATE},
}
APPROVAL_LATE: Table = APPROVAL_IN_TIME | {
    "pending": {
        "approved": TOO_LATE,
        "denied": TOO_LATE,
        "failed": "failed",
        "undone": "failed",
        "expired": "expired",
    },
}


def _cases() -> list[Any]:
    kinds: list[tuple[Any, dict[str, Any], list[tuple[datetime, Table]]]] = [
        (samplings(), SAMPLING, [(JUST_IN_TIME, SAMPLING_IN_TIME), (LATE, SAMPLING_LATE)]),
        (
            elicitations(),
            ELICITATION,
            [(JUST_IN_TIME, ELICITATION_IN_TIME), (LATE, ELICITATION_LATE)],
        ),
        (approvals(), APPROVAL, [(JUST_IN_TIME, APPROVAL_IN_TIME), (LATE, APPROVAL_LATE)]),
    ]
    return [
        pytest.param(
            one,
            move,
            now,
            table[state].get(name, DENIED),
            id=f"{one.KIND.value}-{state}-{name}-{'late' if now == LATE else 'in time'}",
        )
        for states, moves, times in kinds
        for now, table in times
        for state, one in states.items()
        for name, move in moves.items()
    ]


@pytest.mark.parametrize(("one", "move", "now", "outcome"), _cases())
def test_a_move_goes_where_it_should_or_raises(
    one: HitlRequest,
    move: Callable[[HitlRequest, datetime], HitlRequest],
    now: datetime,
    outcome: Outcome,
) -> None:
    if not isinstance(outcome, str):
        with pytest.raises(outcome) as caught:
            move(one, now)
        code = "request_expired" if outcome is GoneError else "request_decided"
        assert getattr(caught.value, "code", "") == code
        return

    moved = move(one, now)

    assert moved.status.value == outcome
    assert moved.ended_at == (None if moved.is_open else one.ended_at or now)
    assert moved.id == one.id
    assert moved.shown == one.shown


@pytest.mark.parametrize(
    ("states", "settled"),
    [
        (samplings(), {"completed", "rejected", "expired", "failed"}),
        (elicitations(), {"completed", "expired", "failed"}),
        (approvals(), {"approved", "begun", "completed", "rejected", "expired", "failed"}),
    ],
    ids=["sampling", "elicitation", "approval"],
)
def test_who_waits_goes_on_when_it_is_settled(
    states: dict[str, HitlRequest], settled: set[str]
) -> None:
    assert {state for state, one in states.items() if one.is_settled} == settled


def test_an_approval_says_who_decided_what_and_when() -> None:
    one = approvals()["pending"].approved("key", {"arguments": {"path": "b"}}, NOW)

    assert (one.decided_by, one.decided_at, one.decision) == (
        "key",
        NOW,
        {"arguments": {"path": "b"}},
    )


def test_a_denial_says_why() -> None:
    one = approvals()["pending"].denied("key", "not today", NOW, {"remember": "always"})

    assert (one.decided_by, one.reason, one.decision) == (
        "key",
        "not today",
        {"remember": "always"},
    )


def test_what_is_begun_is_leased_until_it_ends() -> None:
    assert approvals()["begun"].lease == "L1"
    assert samplings()["begun"].lease == "L1"
    ends = [approvals()["completed"], samplings()["completed"], samplings()["reviewed"]]
    ends += [approvals()["begun"].failed("gone", NOW)]
    assert {one.lease for one in ends} == {None}


def test_a_model_that_was_paid_says_how_much() -> None:
    one = samplings()["completed"]

    assert (one.result, one.cost_nano_usd, one.reserved_nano_usd) == (RESULT, 5, 0)


@pytest.mark.parametrize(("state", "amount"), [("approved", 0), ("begun", 7)])
def test_only_what_may_have_been_spent_still_counts_after_a_failure(
    state: str, amount: int
) -> None:
    assert samplings()[state].failed("gone", NOW).reserved_nano_usd == amount


def test_a_person_may_send_another_answer_than_the_model_gave() -> None:
    look = samplings()["reviewed"]

    assert look.delivered("key", None, NOW).result == RESULT
    assert look.delivered("key", {"model": "me"}, NOW).result == {"model": "me"}
    assert look.delivered("key", {}, NOW).result == {}


def test_an_answer_that_was_not_sent_is_not_kept_as_one() -> None:
    look = samplings()["reviewed"]
    ends = [look.rejected("key", "no", NOW), look.expired(LATE), look.failed("gone", NOW)]

    assert [one.result for one in ends] == [None, None, None]
    assert {one.cost_nano_usd for one in ends} == {5}


def test_a_rule_that_stood_for_the_person_is_named() -> None:
    one = sampling().approved("rule:7", {}, NOW, rule=None)

    assert one.decided_by == "rule:7"


@pytest.mark.parametrize(
    ("shown", "action", "content", "result"),
    [
        (FORM, Action.ACCEPT, {"a": 1}, {"action": "accept", "content": {"a": 1}}),
        (FORM, Action.ACCEPT, None, {"action": "accept", "content": {}}),
        (FORM, Action.DECLINE, {"a": 1}, {"action": "decline"}),
        (FORM, Action.CANCEL, None, {"action": "cancel"}),
        (LINK, Action.ACCEPT, {"a": 1}, {"action": "accept"}),
        (LINK, Action.DECLINE, None, {"action": "decline"}),
    ],
)
def test_an_answer_is_mcps_result(
    shown: dict[str, Any], action: Action, content: dict[str, Any] | None, result: dict[str, Any]
) -> None:
    one = elicitation(shown).answered("key", action, content, NOW)

    assert one.result == one.decision == result
    assert (one.decided_by, one.decided_at) == ("key", NOW)


def test_a_form_is_read_with_what_the_hub_warns_of() -> None:
    schema = {"type": "object", "properties": {"pin": {"type": "string"}}}
    one = elicitation({"message": "Give your password.", "requestedSchema": schema})

    assert [field.name for field in one.form().fields] == ["pin"]
    assert len(one.notes().warnings) == 2
    assert (one.notes().host, one.notes().url) == ("", "")
    assert elicitation().notes().warnings == ()


def test_a_link_is_read_with_its_host() -> None:
    one = elicitation(LINK | {"url": "http://example.com/"})

    assert one.is_url
    assert (one.notes().host, one.notes().url) == ("example.com", "http://example.com/")
    assert len(one.notes().warnings) == 1


def test_what_was_never_let_in_cannot_be_read() -> None:
    for shown in ({"message": "a"}, {"mode": "url", "message": "a"}):
        one = replace(elicitation(), shown=shown)
        with pytest.raises(InvalidError):
            one.notes()
