"""The bulkhead: never too many at once, in order, and no slot lost."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agenthub.domain.entities.resilience.bulkhead import FULL, Bulkhead


def test_slots_first_then_the_queue_then_no_more() -> None:
    bulkhead = Bulkhead(2, 1)
    assert [bulkhead.enter(name) for name in "abcd"] == [True, True, False, FULL]
    assert (bulkhead.in_flight, bulkhead.queued) == (2, 1)


def test_who_came_first_is_next() -> None:
    bulkhead = Bulkhead(1, 5)
    for name in "abc":
        bulkhead.enter(name)
    assert [bulkhead.leave(), bulkhead.leave(), bulkhead.leave()] == ["b", "c", None]
    assert bulkhead.in_flight == 0


def test_who_gives_up_in_the_queue_takes_no_slot() -> None:
    bulkhead = Bulkhead(1, 5)
    for name in "abc":
        bulkhead.enter(name)
    assert bulkhead.give_up("b") is None
    assert bulkhead.leave() == "c"


def test_who_gives_up_just_after_admission_hands_the_slot_on() -> None:
    bulkhead = Bulkhead(1, 5)
    for name in "abc":
        bulkhead.enter(name)
    assert bulkhead.leave() == "b"
    assert bulkhead.give_up("b") == "c"
    assert bulkhead.in_flight == 1


def test_a_call_whose_person_has_answered_goes_on_and_no_other_enters_for_it() -> None:
    bulkhead = Bulkhead(1, 5)
    for name in "abc":
        bulkhead.enter(name)
    assert bulkhead.leave() == "b"
    bulkhead.re_enter()
    assert bulkhead.in_flight == 2
    assert bulkhead.leave() is None
    assert bulkhead.leave() == "c"


def test_more_slots_admit_who_waits_and_fewer_send_nobody_away() -> None:
    bulkhead = Bulkhead(1, 5)
    for name in "abcd":
        bulkhead.enter(name)
    assert bulkhead.resize(3, 0) == ["b", "c"]
    assert bulkhead.resize(1, 0) == []
    assert bulkhead.queued == 1
    assert bulkhead.enter("e") is FULL
    assert [bulkhead.leave(), bulkhead.leave(), bulkhead.leave()] == [None, None, "d"]


class BulkheadMachine(RuleBasedStateMachine):
    """Against two plain lists: who is in, and who waits."""

    @initialize(limit=st.integers(1, 4), max_queue=st.integers(0, 4))
    def start(self, limit: int, max_queue: int) -> None:
        self.limit, self.max_queue = limit, max_queue
        self.bulkhead = Bulkhead(limit, max_queue)
        self.inside: list[object] = []
        self.waiting: list[object] = []
        self.lent: list[object] = []

    @rule()
    def enter(self) -> None:
        ticket = object()
        answer = self.bulkhead.enter(ticket)
        if len(self.inside) < self.limit:
            assert answer is True
            self.inside.append(ticket)
        elif len(self.waiting) < self.max_queue:
            assert answer is False
            self.waiting.append(ticket)
        else:
            assert answer is FULL

    @precondition(lambda self: self.inside)
    @rule(which=st.integers(0, 99), is_lent=st.booleans())
    def leave(self, which: int, is_lent: bool) -> None:
        ticket = self.inside.pop(which % len(self.inside))
        if is_lent:
            self.lent.append(ticket)
        self._admit(self.bulkhead.leave())

    @precondition(lambda self: self.lent)
    @rule()
    def re_enter(self) -> None:
        self.bulkhead.re_enter()
        self.inside.append(self.lent.pop())

    @precondition(lambda self: self.waiting or self.inside)
    @rule(which=st.integers(0, 99))
    def give_up(self, which: int) -> None:
        everyone = self.waiting + self.inside
        ticket = everyone[which % len(everyone)]
        (self.waiting if ticket in self.waiting else self.inside).remove(ticket)
        self._admit(self.bulkhead.give_up(ticket))

    @rule(limit=st.integers(1, 6), max_queue=st.integers(0, 4))
    def resize(self, limit: int, max_queue: int) -> None:
        self.limit, self.max_queue = limit, max_queue
        for ticket in self.bulkhead.resize(limit, max_queue):
            self._admit(ticket)

    @invariant()
    def loses_no_slot_and_gives_none_twice(self) -> None:
        assert self.bulkhead.in_flight == len(self.inside)
        assert self.bulkhead.queued == len(self.waiting)
        assert not self.waiting or len(self.inside) >= self.limit

    def _admit(self, ticket: object | None) -> None:
        if ticket is not None:
            assert ticket is self.waiting.pop(0)
            assert len(self.inside) < self.limit
            self.inside.append(ticket)


TestBulkhead = BulkheadMachine.TestCase
TestBulkhead.settings = settings(max_examples=100, stateful_step_count=40)
