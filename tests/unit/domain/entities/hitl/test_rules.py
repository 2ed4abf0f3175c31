"""Which policy stands for a call, and which policies may be kept."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.hitl.rule_checks import (
    MAX_CALLERS,
    MAX_CONDITIONS,
    MAX_NAME_LENGTH,
    MAX_PATTERN_LENGTH,
    MAX_PRIORITY,
    MAX_VALUE_LENGTH,
    check_policy,
)
from agenthub.domain.entities.hitl.rules import (
    ApprovalPolicy,
    ArgumentCondition,
    Comparison,
    PolicyAction,
    ToolUse,
    decide,
    exactly,
    fits,
    fits_use,
)
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import DEFAULT_WORKSPACE, RuleId
from tests.fakes.clock import NEW_YEAR

ASK, ALLOW, DENY = PolicyAction.ASK, PolicyAction.ALLOW, PolicyAction.DENY


def policy(name: str = "P1", **changes: Any) -> ApprovalPolicy:
    facts: dict[str, Any] = {
        "id": RuleId(name),
        "workspace": DEFAULT_WORKSPACE,
        "name": name,
        "action": ASK,
        "created_at": NEW_YEAR,
        "created_by": "owner",
    }
    return ApprovalPolicy(**{**facts, **changes})


def use(**changes: Any) -> ToolUse:
    facts: dict[str, Any] = {
        "server": "mail",
        "tool": "send",
        "annotations": {},
        "arguments": {},
        "subject": "K1",
    }
    return ToolUse(**{**facts, **changes})


def when(path: str, comparison: Comparison, value: Any = None) -> dict[str, Any]:
    return {"arguments": (ArgumentCondition(path=path, comparison=comparison, value=value),)}


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "anything", True),
        ("send", "send", True),
        ("send", "Send", False),
        ("send", "sender", False),
        ("send_*", "send_mail", True),
        ("*", "", True),
        ("s?nd", "send", True),
        ("s?nd", "snd", False),
        ("a*c", "a\nb\nc", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        (r"a\?", "ab", False),
        (r"a\\*", "a\\b", True),
        (r"C:\Win*", r"C:\Windows", True),
    ],
)
def test_a_pattern_has_stars_question_marks_and_nothing_else(
    pattern: str, text: str, expected: bool
) -> None:
    assert fits(pattern, text) is expected


@given(st.text(alphabet="ab*?\\[]!.\n", min_size=1), st.text(alphabet="ab*?\\[]!.\n"))
def test_an_exact_pattern_fits_its_text_alone(text: str, other: str) -> None:
    assert fits(exactly(text), text)
    assert fits(exactly(text), other) is (text == other)


def test_without_a_policy_that_fits_none_stands() -> None:
    assert decide([], use()) is None
    assert decide([policy(tool="read")], use()) is None


def test_the_highest_priority_decides_whatever_it_says() -> None:
    policies = [policy("low", action=DENY, priority=1), policy("high", action=ALLOW, priority=2)]

    assert decide(policies, use()) == policies[1]


def test_of_equals_deny_comes_before_allow_before_ask_and_the_first_before_the_rest() -> None:
    ask, allow, deny = (policy(each.value, action=each) for each in (ASK, ALLOW, DENY))

    assert decide([ask, allow, deny], use()) == deny
    assert decide([ask, allow], use()) == allow
    assert decide([ask, replace(ask, id=RuleId("later"))], use()) == ask


@pytest.mark.parametrize("changes", [{"enabled": False}, {"revoked_at": NEW_YEAR}])
def test_what_is_out_of_force_does_not_stand(changes: dict[str, Any]) -> None:
    assert decide([policy(**changes)], use()) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"server": "ma*"}, True),
        ({"server": "ma"}, False),
        ({"tool": "send"}, True),
        ({"tool": "read"}, False),
        ({"callers": ("K2", "K1")}, True),
        ({"callers": ("K*",)}, False),
        ({"conversation": "C1"}, True),
        ({"conversation": "C"}, False),
        ({"server": "mail", "tool": "read"}, False),
    ],
)
def test_every_condition_that_is_set_must_fit(changes: dict[str, Any], expected: bool) -> None:
    assert fits_use(policy(**changes), use(conversation="C1")) is expected


@pytest.mark.parametrize(
    ("annotations", "wanted", "expected"),
    [
        ({}, {"destructiveHint": True}, True),
        ({}, {"readOnlyHint": True}, False),
        ({}, {"openWorldHint": True, "idempotentHint": False}, True),
        ({"destructiveHint": False}, {"destructiveHint": True}, False),
        ({"destructiveHint": "no"}, {"destructiveHint": True}, True),
        ({"readOnlyHint": True}, {"destructiveHint": True}, False),
        ({"readOnlyHint": True, "destructiveHint": True}, {"destructiveHint": True}, True),
        ({"readOnlyHint": True}, {"readOnlyHint": True, "destructiveHint": True}, False),
    ],
)
def test_a_hint_that_a_tool_does_not_give_has_its_default(
    annotations: dict[str, Any], wanted: dict[str, bool], expected: bool
) -> None:
    assert fits_use(policy(annotations=wanted), use(annotations=annotations)) is expected


@pytest.mark.parametrize(
    ("arguments", "path", "comparison", "value", "expected"),
    [
        ({"to": "ann"}, "to", Comparison.EQUALS, "ann", True),
        ({"to": "bob"}, "to", Comparison.EQUALS, "ann", False),
        ({"count": 1.0}, "count", Comparison.EQUALS, 1, True),
        ({"force": True}, "force", Comparison.EQUALS, True, True),
        ({}, "to", Comparison.EQUALS, "ann", False),
        ({"to": None}, "to", Comparison.EQUALS, "ann", False),
        ({"to": "bob"}, "to", Comparison.NOT_EQUALS, "ann", True),
        ({}, "to", Comparison.NOT_EQUALS, "ann", True),
        ({"to": "ann@example.com"}, "to", Comparison.MATCHES, "*@example.com", True),
        ({"to": "ann@example.org"}, "to", Comparison.MATCHES, "*@example.com", False),
        ({}, "to", Comparison.MATCHES, "*", False),
        ({"to": "ann@example.org"}, "to", Comparison.NOT_MATCHES, "*@example.com", True),
        ({"to": "ann@example.com"}, "to", Comparison.NOT_MATCHES, "*@example.com", False),
        ({}, "to", Comparison.NOT_MATCHES, "*", True),
        ({"sum": 101}, "sum", Comparison.MORE_THAN, 100, True),
        ({"sum": 100}, "sum", Comparison.MORE_THAN, 100, False),
        ({}, "sum", Comparison.MORE_THAN, 100, False),
        ({"sum": 99.5}, "sum", Comparison.LESS_THAN, 100, True),
        ({"sum": 100}, "sum", Comparison.LESS_THAN, 100, False),
        ({"sum": None}, "sum", Comparison.LESS_THAN, 100, False),
        ({"to": ""}, "to", Comparison.EXISTS, None, True),
        ({"to": None}, "to", Comparison.EXISTS, True, False),
        ({}, "to", Comparison.EXISTS, False, True),
        ({"to": 0}, "to", Comparison.EXISTS, False, False),
        ({"mail": {"to": "ann"}}, "mail.to", Comparison.EQUALS, "ann", True),
        ({"mail": {}}, "mail.to", Comparison.EXISTS, None, False),
        ({"mail": None}, "mail.to", Comparison.EXISTS, None, False),
    ],
)
@pytest.mark.parametrize("action", PolicyAction)
def test_arguments_are_compared_by_their_path(
    arguments: dict[str, Any],
    path: str,
    comparison: Comparison,
    value: Any,
    expected: bool,
    action: PolicyAction,
) -> None:
    asked = policy(action=action, **when(path, comparison, value))

    assert fits_use(asked, use(arguments=arguments)) is expected


@pytest.mark.parametrize(
    ("arguments", "path", "comparison", "value"),
    [
        ({"sum": "101"}, "sum", Comparison.MORE_THAN, 100),
        ({"sum": True}, "sum", Comparison.LESS_THAN, 100),
        ({"id": "5"}, "id", Comparison.EQUALS, 5),
        ({"force": 1}, "force", Comparison.NOT_EQUALS, True),
        ({"to": ["ann@example.com"]}, "to", Comparison.MATCHES, "*@example.com"),
        ({"to": {"name": "ann"}}, "to", Comparison.NOT_MATCHES, "ann"),
        ({"mail": '{"to": "ann"}'}, "mail.to", Comparison.EQUALS, "bob"),
        ({"mail": [{"to": "ann"}]}, "mail.to", Comparison.EXISTS, None),
    ],
)
def test_a_disguised_argument_gets_past_nothing(
    arguments: dict[str, Any], path: str, comparison: Comparison, value: Any
) -> None:
    condition = when(path, comparison, value)

    assert fits_use(policy(action=ASK, **condition), use(arguments=arguments))
    assert fits_use(policy(action=DENY, **condition), use(arguments=arguments))
    assert not fits_use(policy(action=ALLOW, **condition), use(arguments=arguments))


def test_all_conditions_on_arguments_must_hold() -> None:
    both = (*when("a", Comparison.EXISTS)["arguments"], *when("b", Comparison.EXISTS)["arguments"])

    assert fits_use(policy(arguments=both), use(arguments={"a": 1, "b": 1}))
    assert not fits_use(policy(arguments=both), use(arguments={"a": 1}))


def test_a_policy_at_its_bounds_may_be_kept() -> None:
    check_policy(
        policy(
            "n" * MAX_NAME_LENGTH,
            server="s" * MAX_PATTERN_LENGTH,
            priority=-MAX_PRIORITY,
            callers=("K" * MAX_NAME_LENGTH,) * MAX_CALLERS,
            annotations={"readOnlyHint": True},
            arguments=(
                *when("a.b", Comparison.MATCHES, "v" * MAX_VALUE_LENGTH)["arguments"],
                *when("a", Comparison.EQUALS, 1)["arguments"],
                *when("a", Comparison.EQUALS, False)["arguments"],
                *when("a", Comparison.EQUALS, "")["arguments"],
                *when("a", Comparison.EXISTS, True)["arguments"],
                *when("a", Comparison.MORE_THAN, 1.5)["arguments"],
            ),
        )
    )


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"name": ""}, ("name",)),
        ({"name": " "}, ("name",)),
        ({"name": "n" * (MAX_NAME_LENGTH + 1)}, ("name",)),
        ({"server": "s" * (MAX_PATTERN_LENGTH + 1)}, ("server",)),
        ({"tool": "t" * (MAX_PATTERN_LENGTH + 1)}, ("tool",)),
        ({"conversation": "c" * (MAX_PATTERN_LENGTH + 1)}, ("conversation",)),
        ({"priority": MAX_PRIORITY + 1}, ("priority",)),
        ({"annotations": {"riskyHint": True}}, ("annotations", "riskyHint")),
        ({"callers": ("K",) * (MAX_CALLERS + 1)}, ("callers",)),
        ({"callers": ("K", "")}, ("callers", 1)),
        ({"arguments": when("a", Comparison.EXISTS)["arguments"] * 21}, ("arguments",)),
        (when("", Comparison.EXISTS), ("arguments", 0, "path")),
        (when("a..b", Comparison.EXISTS), ("arguments", 0, "path")),
        (when("a" * (MAX_PATTERN_LENGTH + 1), Comparison.EXISTS), ("arguments", 0, "path")),
        (when("a", Comparison.EXISTS, 1), ("arguments", 0, "value")),
        (when("a", Comparison.MATCHES, 1), ("arguments", 0, "value")),
        (when("a", Comparison.MATCHES, ""), ("arguments", 0, "value")),
        (when("a", Comparison.MORE_THAN, "1"), ("arguments", 0, "value")),
        (when("a", Comparison.LESS_THAN, True), ("arguments", 0, "value")),
        (when("a", Comparison.LESS_THAN, float("inf")), ("arguments", 0, "value")),
        (when("a", Comparison.EQUALS, float("nan")), ("arguments", 0, "value")),
        (when("a", Comparison.EQUALS), ("arguments", 0, "value")),
        (when("a", Comparison.NOT_EQUALS, ["a"]), ("arguments", 0, "value")),
        (when("a", Comparison.EQUALS, "v" * (MAX_VALUE_LENGTH + 1)), ("arguments", 0, "value")),
    ],
)
def test_a_policy_that_breaks_a_rule_names_the_field(
    changes: dict[str, Any], loc: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidError) as refused:
        check_policy(replace(policy(), **changes))

    assert refused.value.code == "invalid_policy"
    assert [fault.loc for fault in refused.value.faults] == [loc]


def test_all_faults_of_a_policy_are_named() -> None:
    with pytest.raises(InvalidError) as refused:
        check_policy(policy("", priority=MAX_PRIORITY + 1, callers=("",)))

    assert len(refused.value.faults) == 3


def test_the_bound_on_conditions_is_as_tested() -> None:
    check_policy(policy(arguments=when("a", Comparison.EXISTS)["arguments"] * MAX_CONDITIONS))
