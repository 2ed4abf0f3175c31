"""Which approval policies may be kept: their bounds, field by field."""

import math
from collections.abc import Iterator

from agenthub.domain.entities.hitl.rules import (
    HINTS,
    ApprovalPolicy,
    ArgumentCondition,
    Comparison,
)
from agenthub.domain.exceptions import FieldFault, InvalidError

MAX_NAME_LENGTH = 200
MAX_PATTERN_LENGTH = 1_000
MAX_CALLERS = 100
MAX_CONDITIONS = 20
MAX_VALUE_LENGTH = 4_000
MAX_PRIORITY = 1_000

_TEXTS = frozenset({Comparison.MATCHES, Comparison.NOT_MATCHES})
_NUMBERS = frozenset({Comparison.MORE_THAN, Comparison.LESS_THAN})


def check_policy(policy: ApprovalPolicy) -> None:
    """Raise InvalidError with every fault of a policy that a person has written."""
    faults = (*_head_faults(policy), *_caller_faults(policy), *_condition_faults(policy))
    if faults:
        first = faults[0]
        where = ".".join(str(part) for part in first.loc)
        raise InvalidError(f"{where}: {first.message}", faults=faults, code="invalid_policy")


def _head_faults(policy: ApprovalPolicy) -> Iterator[FieldFault]:
    if not 0 < len(policy.name.strip()) <= len(policy.name) <= MAX_NAME_LENGTH:
        yield FieldFault(("name",), f"must have 1 to {MAX_NAME_LENGTH} characters")
    patterns = {
        "server": policy.server,
        "tool": policy.tool,
        "conversation": policy.conversation,
    }
    for name, text in patterns.items():
        if len(text) > MAX_PATTERN_LENGTH:
            yield FieldFault((name,), f"must have at most {MAX_PATTERN_LENGTH} characters")
    if not -MAX_PRIORITY <= policy.priority <= MAX_PRIORITY:
        yield FieldFault(("priority",), f"must be from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    for name in policy.annotations:
        if name not in HINTS:
            yield FieldFault(("annotations", name), f"must be one of {', '.join(HINTS)}")


def _caller_faults(policy: ApprovalPolicy) -> Iterator[FieldFault]:
    if len(policy.callers) > MAX_CALLERS:
        yield FieldFault(("callers",), f"must be at most {MAX_CALLERS}")
        return
    for index, caller in enumerate(policy.callers):
        if not 0 < len(caller) <= MAX_NAME_LENGTH:
            yield FieldFault(("callers", index), f"must have 1 to {MAX_NAME_LENGTH} characters")


def _condition_faults(policy: ApprovalPolicy) -> Iterator[FieldFault]:
    if len(policy.arguments) > MAX_CONDITIONS:
        yield FieldFault(("arguments",), f"must be at most {MAX_CONDITIONS}")
        return
    for index, condition in enumerate(policy.arguments):
        if not all(condition.path.split(".")) or len(condition.path) > MAX_PATTERN_LENGTH:
            text = f"must be names joined by dots, {MAX_PATTERN_LENGTH} characters in all"
            yield FieldFault(("arguments", index, "path"), text)
        fault = _value_fault(condition)
        if fault:
            yield FieldFault(("arguments", index, "value"), fault)


def _value_fault(condition: ArgumentCondition) -> str:
    value, comparison = condition.value, condition.comparison
    if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
        return f"must have at most {MAX_VALUE_LENGTH} characters"
    if comparison in _TEXTS:
        return "" if isinstance(value, str) and value else "must be a pattern"
    if comparison is Comparison.EXISTS:
        return "" if value is None or isinstance(value, bool) else "must be true, false or missing"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "" if math.isfinite(value) else "must be finite"
    if comparison in _NUMBERS:
        return "must be a number"
    return "" if isinstance(value, str | bool) else "must be text, a number, true or false"
