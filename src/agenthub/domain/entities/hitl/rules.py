"""Standing answers of a person: which tools need one, and what models a server may ask alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

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
    """`path` leads to the argument through objects: `to` or `message.to`."""

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


def fits(pattern: str, text: str) -> bool:
    """Compare with a pattern of `*` and `?`; an empty one fits all."""
    return not pattern or fnmatchcase(text, pattern.replace("[", "[[]"))
