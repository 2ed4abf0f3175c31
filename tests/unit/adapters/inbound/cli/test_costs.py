"""Budgets and sums as they are written and read on the command line."""

import pytest

from agenthub.adapters.inbound.cli.commands.costs import budget_words, cost_row, subject_of
from agenthub.adapters.inbound.cli.output import WrongUse

ROW = {
    "tool_calls": 3,
    "model_calls": 2,
    "errors": 1,
    "refused": 0,
    "prompt_tokens": 70,
    "completion_tokens": 7,
    "cost_usd": "0.10",
    "unpriced": 0,
    "estimated": 0,
}


def test_a_budget_is_for_what_is_named_or_for_the_hub() -> None:
    assert subject_of({"key": None, "group": None}) == ("hub", "")
    assert subject_of({"key": None, "group": "dev"}) == ("group", "dev")


def test_a_budget_is_for_one_thing() -> None:
    with pytest.raises(WrongUse):
        subject_of({"key": "K-1", "group": "dev"})


def test_a_row_tells_calls_tokens_and_dollars() -> None:
    assert cost_row(ROW, "time") == ["time", "3", "2", "1", "0", "77", "0.10", ""]


def test_a_row_says_what_its_cost_does_not_hold() -> None:
    row = cost_row(ROW | {"unpriced": 2, "estimated": 1}, "time")
    assert row[-1] == "2 unpriced, 1 estimated"


def test_a_budget_is_told_in_a_line() -> None:
    budget = {"scope": "hub", "subject": "", "period": "month", "hard_stop": True}
    told = budget_words(budget | {"limit_usd": "12.50", "spent_usd": "3.00"})
    assert told == (
        "A budget of the hub: 12.50 USD a month, 3.00 USD of it spent already; "
        "calls beyond it are refused."
    )
