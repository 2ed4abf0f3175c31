"""Standing answers of a person: which tools need one, and what models a server may ask alone."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, cast

from agenthub.domain.ids import RuleId, WorkspaceId


class PolicyAction(StrEnum):
    """What becomes of a call that a policy fits."""

    ASK = "ask"
    ALLOW = "allow"
    DENY = "deny"


class Comparison(StrEnum):
    """How an argument is compared. MATCHES takes a pattern with `*` and `?`."""

    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    MATCHES = "matches"
    NOT_MATCHES = "not_matches"
    MORE_THAN = "more_than"
    LESS_THAN = "less_than"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentCondition:
    """`path` leads to the argument through objects: `to` or `message.to`.

    An argument that is null is not there. One that is not there fits the two comparisons with
    NOT, and EXISTS with the value false, and no other.
    """

    path: str
    comparison: Comparison
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A call as policies see it."""

    server: str
    tool: str
    annotations: Mapping[str, Any]
    arguments: Mapping[str, Any]
    subject: str
    conversation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """Every condition that is set must fit. Patterns have `*` and `?`; empty: any.

    `annotations` are MCP's hints (`destructiveHint`, ...) with the value they must have; a hint
    that a tool does not give has the default of the specification.
    """

    id: RuleId
    workspace: WorkspaceId
    name: str
    action: PolicyAction
    server: str = ""
    tool: str = ""
    annotations: Mapping[str, bool] = field(default_factory=dict[str, bool])
    arguments: tuple[ArgumentCondition, ...] = ()
    callers: tuple[str, ...] = ()
    """Subjects: `owner`, or ids of keys."""
    conversation: str = ""
    """Set where a person said yes for one conversation only."""
    priority: int = 0
    """The highest that fits decides; of equals DENY comes before ALLOW before ASK."""
    enabled: bool = True
    created_at: datetime
    created_by: str
    source: str = ""
    """The id of the approval that a person answered for more than once."""
    revoked_at: datetime | None = None
    revoked_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRule:
    """Lets a server ask a model alone. `server` and `model` are patterns with `*` and `?`."""

    id: RuleId
    workspace: WorkspaceId
    server: str
    model: str
    daily_nano_usd: int
    """What its calls may cost each day (UTC)."""
    max_tokens: int | None = None
    created_at: datetime
    created_by: str
    revoked_at: datetime | None = None
    revoked_by: str = ""


HINTS: Mapping[str, bool] = {
    "readOnlyHint": False,
    "destructiveHint": True,
    "idempotentHint": False,
    "openWorldHint": True,
}
"""Defaults of a tool that says nothing. Source: MCP schema, ToolAnnotations."""


def exactly(text: str) -> str:
    """Make the pattern that fits this text alone."""
    return re.sub(r"[*?\\]", r"\\\g<0>", text)


def fits(pattern: str, text: str) -> bool:
    """Compare with a pattern of `*` and `?`; an empty one fits all.

    A backslash takes the `*`, `?` or backslash behind it as it is.
    """
    return not pattern or fnmatchcase(text, _for_fnmatch(pattern))


@lru_cache(maxsize=4_096)
def _for_fnmatch(pattern: str) -> str:
    """Say it in fnmatch's words, to which `[` is special and a backslash is not."""
    return re.sub(r"\\([*?\\])|\[", _one_for_fnmatch, pattern)


def _one_for_fnmatch(found: re.Match[str]) -> str:
    escaped: str | None = found[1]
    return "\\" if escaped == "\\" else f"[{escaped or '['}]"


def decide(policies: Iterable[ApprovalPolicy], use: ToolUse) -> ApprovalPolicy | None:
    """Give the policy that stands for this call: of all that fit, the highest.

    Of equal priority DENY comes before ALLOW before ASK, and of those the first.
    """
    found = [policy for policy in policies if is_in_force(policy) and fits_use(policy, use)]
    return max(found, key=lambda each: (each.priority, _WEIGHT[each.action]), default=None)


def is_in_force(policy: ApprovalPolicy) -> bool:
    return policy.enabled and policy.revoked_at is None


def fits_use(policy: ApprovalPolicy, use: ToolUse) -> bool:
    """Say whether every condition that is set fits.

    An argument of another kind than what it is compared with (the text "5" with the number 5)
    fits a policy that asks or denies, and none that allows: nobody gets past it by a disguise.
    """
    if policy.callers and use.subject not in policy.callers:
        return False
    if policy.conversation and use.conversation != policy.conversation:
        return False
    if not (fits(policy.tool, use.tool) and fits(policy.server, use.server)):
        return False
    if any(_hint(use.annotations, name) is not want for name, want in policy.annotations.items()):
        return False
    unclear = policy.action is not PolicyAction.ALLOW
    return all(_holds(condition, use.arguments, unclear) for condition in policy.arguments)


def _hint(annotations: Mapping[str, Any], name: str) -> bool:
    given = annotations.get(name)
    if isinstance(given, bool):
        return given
    if name == "destructiveHint" and annotations.get("readOnlyHint") is True:
        return False  # it has a meaning only for tools that change something
    return HINTS.get(name, False)


def _holds(condition: ArgumentCondition, arguments: Mapping[str, Any], unclear: bool) -> bool:
    """Say whether a condition holds; `unclear` where that cannot be told."""
    found = _argument(condition.path, arguments)
    if found is _ODD:
        return unclear
    if condition.comparison is Comparison.EXISTS:
        return (found is not None) is (condition.value is not False)
    if found is not None and _kind(found) != _kind(condition.value):
        return unclear
    return _COMPARE[condition.comparison](found, condition.value)


def _argument(path: str, arguments: Mapping[str, Any]) -> Any:
    """Follow a path. None: it is not there, or null; `_ODD`: it leads through no object."""
    found: Any = arguments
    for part in path.split("."):
        if found is None:
            return None
        if not isinstance(found, Mapping):
            return _ODD
        found = cast("Mapping[str, Any]", found).get(part)
    return found


def _kind(value: Any) -> str:
    """Tell apart what JSON tells apart: true is no number."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def _is_like(found: Any, pattern: str) -> bool:
    return found is not None and fits(pattern, found)


_ODD = object()
_WEIGHT = {PolicyAction.ASK: 0, PolicyAction.ALLOW: 1, PolicyAction.DENY: 2}
_COMPARE: Mapping[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.EQUALS: operator.eq,
    Comparison.NOT_EQUALS: operator.ne,
    Comparison.MATCHES: _is_like,
    Comparison.NOT_MATCHES: lambda found, value: not _is_like(found, value),
    Comparison.MORE_THAN: lambda found, value: found is not None and found > value,
    Comparison.LESS_THAN: lambda found, value: found is not None and found < value,
}
