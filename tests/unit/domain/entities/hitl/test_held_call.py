"""Calls that wait for a person: who may go on with them, and that it happens once."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.exceptions import ConflictError
from agenthub.domain.ids import RequestId
from tests.unit.domain.entities.hitl.samples import LATE, held_call

LATER = LATE + timedelta(minutes=10)
OUTCOME = {"result": "{}"}

STATES = {
    "waiting": held_call(),
    "running": held_call().running("L1"),
    "done": held_call().running("L1").done(OUTCOME, LATER),
}
MOVES: dict[str, Callable[[HeldCall], HeldCall]] = {
    "asking": lambda call: call.asking((RequestId("R2"),), {"state": "s"}, LATER),
    "running": lambda call: call.running("L2"),
    "done": lambda call: call.done(OUTCOME, LATER),
}
LEGAL = {
    ("waiting", "asking"): HeldStatus.WAITING,
    ("waiting", "running"): HeldStatus.RUNNING,
    ("waiting", "done"): HeldStatus.DONE,
    ("running", "asking"): HeldStatus.WAITING,
    ("running", "done"): HeldStatus.DONE,
}


@pytest.mark.parametrize(("state", "move"), [(s, m) for s in STATES for m in MOVES])
def test_a_move_goes_where_it_should_or_raises(state: str, move: str) -> None:
    call = STATES[state]
    expected = LEGAL.get((state, move))

    if expected is None:
        with pytest.raises(ConflictError) as caught:
            MOVES[move](call)
        assert caught.value.code == "call_taken"
    else:
        assert MOVES[move](call).status is expected


def test_another_round_replaces_the_questions_and_frees_the_call() -> None:
    call = STATES["running"].asking((RequestId("R2"),), {"state": "s"}, LATER)

    assert (call.requests, call.going_on) == (("R2",), {"state": "s"})
    assert (call.lease, call.expires_at) == (None, LATER)


def test_a_running_call_belongs_to_one_process() -> None:
    assert STATES["running"].lease == "L1"


def test_a_call_that_is_done_keeps_its_outcome_until_it_is_forgotten() -> None:
    call = STATES["done"]

    assert (call.outcome, call.lease, call.expires_at) == (OUTCOME, None, LATER)
