"""Whole lives of questions and calls, in any order of moves and at any time."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agenthub.domain.entities.hitl.elicitation_request import Action
from agenthub.domain.entities.hitl.held_call import HeldStatus
from agenthub.domain.entities.hitl.request import HitlRequest, RequestStatus
from agenthub.domain.exceptions import ConflictError, GoneError
from agenthub.domain.ids import RequestId
from tests.unit.domain.entities.hitl.samples import (
    LATE,
    NOW,
    approval,
    elicitation,
    held_call,
    sampling,
)

BEGINNINGS: list[Callable[[], HitlRequest]] = [approval, elicitation, sampling]
NEXT = {
    RequestStatus.PENDING: {
        RequestStatus.APPROVED,
        RequestStatus.COMPLETED,
        RequestStatus.REJECTED,
        RequestStatus.EXPIRED,
        RequestStatus.FAILED,
    },
    RequestStatus.APPROVED: {
        RequestStatus.APPROVED,
        RequestStatus.COMPLETED,
        RequestStatus.REJECTED,
        RequestStatus.EXPIRED,
        RequestStatus.FAILED,
    },
}


class QuestionLife(RuleBasedStateMachine):
    """Several people, the clock and the hub move one question, each in the belief to be first."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.decided = 0
        self.begun = 0

    @initialize(begin=st.sampled_from(BEGINNINGS))
    def ask(self, begin: Callable[[], HitlRequest]) -> None:
        self.one = begin()

    def move(self, name: str, *given_: Any) -> bool:
        """Try a move; says whether it was made. A refused one has changed nothing."""
        before, copy = self.one, replace(self.one)
        with suppress(ConflictError, GoneError):
            self.one = getattr(before, name)(*given_)
            assert self.one.status in NEXT[before.status]
            return True
        assert self.one is before
        assert before == copy
        return False

    @rule(seconds=st.sampled_from([1, 299, 300, 301]))
    def time_goes_by(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(review=st.booleans())
    def a_person_says_yes(self, review: bool) -> None:
        if self.one.KIND.value == "elicitation":
            made = self.move("answered", "a", Action.ACCEPT, {}, self.now)
        else:
            made = self.move("approved", "a", {"review": review}, self.now)
        self.count_decision(made)

    @rule()
    def a_person_says_no(self) -> None:
        was_pending = self.one.status is RequestStatus.PENDING
        match self.one.KIND.value:
            case "elicitation":
                made = self.move("answered", "b", Action.CANCEL, None, self.now)
            case "sampling":
                made = self.move("rejected", "b", "no", self.now)
            case _:
                made = self.move("denied", "b", "no", self.now)
        self.count_decision(made and was_pending)

    def count_decision(self, made: bool) -> None:
        self.decided += made
        assert not made or self.now < LATE

    @rule(lease=st.sampled_from(["L1", "L2"]))
    def a_hub_begins(self, lease: str) -> None:
        self.begun += self.move("begun", lease)

    @rule()
    def a_hub_ends_it(self) -> None:
        had_begun = self.one.lease is not None
        if self.one.KIND.value == "sampling":
            assert self.move("answered", {"a": 1}, None, 5, self.now) is had_begun
        elif self.one.KIND.value == "approval":
            assert self.move("completed", self.now) is had_begun

    @rule()
    def a_person_sends_the_reviewed_answer(self) -> None:
        if self.one.KIND.value == "sampling":
            self.move("delivered", "c", None, self.now)

    @rule()
    def a_hub_sweeps(self) -> None:
        if self.move("expired", self.now):
            assert self.now >= LATE

    @rule(unlucky=st.integers(0, 4))
    def a_hub_gives_up(self, unlucky: int) -> None:
        if unlucky == 0:
            self.move("failed", "gone", self.now)

    @invariant()
    def everything_happens_once(self) -> None:
        assert self.decided <= 1
        assert self.begun <= 1

    @invariant()
    def an_end_is_an_end(self) -> None:
        if hasattr(self, "one"):
            assert (self.one.ended_at is None) is self.one.is_open
            assert self.one.is_settled or self.one.is_open
            assert self.one.is_open or self.one.lease is None

    @invariant()
    def what_was_decided_has_somebody_who_did(self) -> None:
        if hasattr(self, "one"):
            assert (self.one.decided_at is None) is (self.decided == 0)
            assert (self.one.decided_by == "") is (self.decided == 0)


TestQuestionLife = QuestionLife.TestCase


@given(st.lists(st.sampled_from(["ask", "run", "run elsewhere", "end"]), max_size=12))
def test_a_call_runs_once_for_each_round_and_ends_once(moves: list[str]) -> None:
    call, runs, rounds, ends = held_call(), 0, 1, 0
    for move in moves:
        before = call
        try:
            match move:
                case "ask":
                    call = call.asking((RequestId(f"R{rounds}"),), None, LATE)
                    rounds += 1
                case "end":
                    call = call.done({"result": "{}"}, LATE)
                    ends += 1
                case _:
                    call = call.running(move)
                    runs += 1
        except ConflictError:
            assert call is before
    assert runs <= rounds
    assert ends == (call.status is HeldStatus.DONE)
    assert (call.lease is not None) is (call.status is HeldStatus.RUNNING)
    assert (call.outcome is not None) is (call.status is HeldStatus.DONE)
