"""Valid questions to people, held calls and standing answers."""

from dataclasses import MISSING, Field, fields
from datetime import timedelta
from typing import Any

from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import Origin, RequestStatus
from agenthub.domain.entities.hitl.rules import ApprovalPolicy, PolicyAction, SamplingRule
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.ids import (
    DEFAULT_WORKSPACE,
    EndpointId,
    GroupId,
    HeldCallId,
    RequestId,
    RuleId,
)
from tests.fakes.clock import NEW_YEAR

LATER = NEW_YEAR + timedelta(minutes=10)
FOREIGN_WORDS = "no\x00body \ud800 né ☃ 🎈\n</script>"
"""What JSON may hold, and text of a database may not."""
FOREIGN: dict[str, Any] = {
    FOREIGN_WORDS: FOREIGN_WORDS,
    "numbers": [1.0, 1, -0.0, 1e-300, 0.1, 10**40, 2**63],
    "deep": [[[{"a": [None, True, False, "", {}, []]}]]],
}


def origin(group: str | None = "G-ops") -> Origin:
    return Origin(
        server="gone long ago",
        endpoint_id=EndpointId("E-gone"),
        subject="key:K-1",
        group=None if group is None else GroupId(group),
        agent=FOREIGN_WORDS,
        conversation=FOREIGN_WORDS,
        deed="tools/call",
        key=FOREIGN_WORDS,
    )


def _asked(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": RequestId(f"Q-{name}"),
        "workspace": DEFAULT_WORKSPACE,
        "origin": origin(),
        "held": HeldCallId("H-1"),
        "shown": {},
        "created_at": NEW_YEAR,
        "expires_at": LATER,
    }
    return {**given, **changes}


def sampling(name: str, /, **changes: Any) -> SamplingRequest:
    return SamplingRequest(**_asked(name, changes))


def elicitation(name: str, /, **changes: Any) -> ElicitationRequest:
    return ElicitationRequest(**_asked(name, changes))


def approval(name: str, /, **changes: Any) -> ToolApproval:
    return ToolApproval(**_asked(name, changes))


def in_review(name: str, /, **changes: Any) -> SamplingRequest:
    return sampling(name, status=RequestStatus.APPROVED, result={"model": "m"}, **changes)


def held_call(name: str, /, **changes: Any) -> HeldCall:
    given: dict[str, Any] = {
        "id": HeldCallId(f"H-{name}"),
        "workspace": DEFAULT_WORKSPACE,
        "subject": "owner",
        "binding": "a digest",
        "view_group": None,
        "view_server": None,
        "era": "modern",
        "agent": "an agent",
        "conversation": "",
        "deed": "tools/call",
        "key": "mail__send",
        "params": {},
        "meta": {},
        "created_at": NEW_YEAR,
        "expires_at": LATER,
    }
    return HeldCall(**{**given, **changes})


def policy(name: str, /, **changes: Any) -> ApprovalPolicy:
    given: dict[str, Any] = {
        "id": RuleId(f"P-{name}"),
        "workspace": DEFAULT_WORKSPACE,
        "name": name,
        "action": PolicyAction.ASK,
        "created_at": NEW_YEAR,
        "created_by": "owner",
    }
    return ApprovalPolicy(**{**given, **changes})


def sampling_rule(name: str, /, **changes: Any) -> SamplingRule:
    given: dict[str, Any] = {
        "id": RuleId(f"R-{name}"),
        "workspace": DEFAULT_WORKSPACE,
        "server": "notes",
        "model": "*",
        "daily_nano_usd": 2 * 10**9,
        "created_at": NEW_YEAR,
        "created_by": "owner",
    }
    return SamplingRule(**{**given, **changes})


def left_at_default(thing: Any) -> list[str]:
    """Name the fields in which a sample that should show them all has the default."""
    return [each.name for each in fields(thing) if getattr(thing, each.name) == _default(each)]


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()
