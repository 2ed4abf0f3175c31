"""The deadline of a call, and the time a person takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.resilience.deadline import Deadline


def test_it_is_over_when_its_time_is() -> None:
    deadline = Deadline(10.0, 5.0)
    assert deadline.left_s(12.0) == 3.0
    assert deadline.left_s(14.999) > 0.0
    assert deadline.left_s(15.0) == 0.0
    assert deadline.left_s(99.0) == 0.0


def test_the_time_a_person_takes_does_not_count() -> None:
    deadline = Deadline(10.0, 5.0)
    deadline.pause(12.0)
    assert deadline.left_s(500.0) == 3.0

    deadline.resume(1000.0)

    assert deadline.left_s(1000.0) == 3.0
    assert deadline.left_s(1003.0) == 0.0


def test_it_runs_on_when_the_last_of_several_pauses_ends() -> None:
    deadline = Deadline(10.0, 5.0)
    deadline.pause(11.0)
    deadline.pause(12.0)
    deadline.resume(20.0)
    assert deadline.left_s(30.0) == 4.0
    deadline.resume(40.0)
    assert deadline.left_s(41.0) == 3.0


def test_a_pause_does_not_revive_it() -> None:
    deadline = Deadline(10.0, 5.0)
    deadline.pause(16.0)
    assert deadline.left_s(16.0) == 0.0
    deadline.resume(20.0)
    assert deadline.left_s(20.0) == 0.0


def test_an_end_without_a_pause_is_void() -> None:
    deadline = Deadline(10.0, 5.0)
    deadline.resume(12.0)
    assert deadline.left_s(12.0) == 3.0


@given(
    limit_s=st.floats(0.1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 50), st.sampled_from(["run", "pause", "resume"]))),
)
def test_it_ends_when_it_ran_for_its_limit_and_not_before(
    limit_s: float, steps: list[tuple[float, str]]
) -> None:
    now = 1000.0
    deadline, ran_s, pauses = Deadline(now, limit_s), 0.0, 0
    for wait, act in steps:
        now += wait
        ran_s += 0 if pauses else wait
        if act == "pause":
            deadline.pause(now)
            pauses += 1
        elif act == "resume":
            deadline.resume(now)
            pauses = max(0, pauses - 1)
        assert deadline.left_s(now) == pytest.approx(max(0.0, limit_s - ran_s), abs=1e-6)
